use crate::kinds::prelude::*;

pub struct CSIDriver;

facts!(cluster("storage.k8s.io", "CSIDriver", "csidrivers"));

impl Kind for CSIDriver {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
