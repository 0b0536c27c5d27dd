use crate::kinds::prelude::*;

pub struct Endpoints;

facts!(namespaced("", "Endpoints", "endpoints").short(&["ep"]));

impl Kind for Endpoints {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
