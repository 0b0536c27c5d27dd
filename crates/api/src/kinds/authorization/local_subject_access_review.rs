use crate::kinds::prelude::*;

pub struct LocalSubjectAccessReview;

facts!(namespaced("authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews").verbs(&["create"]));

impl Kind for LocalSubjectAccessReview {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
