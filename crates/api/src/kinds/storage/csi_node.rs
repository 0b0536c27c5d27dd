use crate::kinds::prelude::*;

pub struct CSINode;

facts!(cluster("storage.k8s.io", "CSINode", "csinodes").status());

impl Kind for CSINode {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
