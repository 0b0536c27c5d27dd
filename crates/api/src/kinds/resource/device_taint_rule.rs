use crate::kinds::prelude::*;

pub struct DeviceTaintRule;

facts!(cluster("resource.k8s.io", "DeviceTaintRule", "devicetaintrules").status());

impl Kind for DeviceTaintRule {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
