use crate::kinds::prelude::*;

pub struct SelfSubjectAccessReview;

facts!(cluster("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews").verbs(&["create"]));

impl Kind for SelfSubjectAccessReview {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
