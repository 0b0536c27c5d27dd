use crate::kinds::prelude::*;

pub struct FlowSchema;

facts!(cluster("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas").status());

impl Kind for FlowSchema {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
