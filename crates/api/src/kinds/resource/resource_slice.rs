use crate::kinds::prelude::*;

pub struct ResourceSlice;

facts!(cluster("resource.k8s.io", "ResourceSlice", "resourceslices"));

impl Kind for ResourceSlice {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
