use crate::kinds::prelude::*;

pub struct Secret;

facts!(namespaced("", "Secret", "secrets"));

impl Kind for Secret {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
