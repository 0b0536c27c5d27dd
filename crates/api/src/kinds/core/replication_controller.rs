use crate::kinds::prelude::*;

pub struct ReplicationController;

facts!(
    namespaced("", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .categories(&["all"])
        .scale()
        .status()
        .generation()
);

impl Kind for ReplicationController {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn field_labels(&self) -> &'static [FieldLabel] {
        field_labels!["status.replicas" => count]
    }
}
