use crate::kinds::prelude::*;

pub struct FlowSchema;

facts!(cluster("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas").status().generation());

impl Kind for FlowSchema {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }
}
