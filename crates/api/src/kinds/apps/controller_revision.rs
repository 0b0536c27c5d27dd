use crate::kinds::prelude::*;

pub struct ControllerRevision;

facts!(namespaced("apps", "ControllerRevision", "controllerrevisions"));

impl Kind for ControllerRevision {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
