use crate::kinds::prelude::*;

pub struct SelfSubjectRulesReview;

facts!(cluster("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews").verbs(&["create"]));

impl Kind for SelfSubjectRulesReview {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
