use crate::kinds::prelude::*;

pub struct SubjectAccessReview;

facts!(cluster("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews").verbs(&["create"]));

impl Kind for SubjectAccessReview {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
