use crate::kinds::prelude::*;

pub struct ReplicationController;

facts!(
    namespaced("", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .categories(&["all"])
        .scale()
        .status()
);

impl Kind for ReplicationController {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
