use crate::kinds::prelude::*;

pub struct DeviceClass;

facts!(cluster("resource.k8s.io", "DeviceClass", "deviceclasses").generation());

impl Kind for DeviceClass {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
