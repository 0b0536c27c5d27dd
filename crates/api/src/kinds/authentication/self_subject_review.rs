use crate::kinds::prelude::*;

pub struct SelfSubjectReview;

facts!(cluster("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews").verbs(&["create"]));

impl Kind for SelfSubjectReview {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
