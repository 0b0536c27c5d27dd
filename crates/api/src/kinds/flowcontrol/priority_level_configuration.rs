use crate::kinds::prelude::*;

pub struct PriorityLevelConfiguration;

facts!(cluster("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations").status());

impl Kind for PriorityLevelConfiguration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
