use crate::kinds::prelude::*;

pub struct TokenReview;

facts!(cluster("authentication.k8s.io", "TokenReview", "tokenreviews").verbs(&["create"]));

impl Kind for TokenReview {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
