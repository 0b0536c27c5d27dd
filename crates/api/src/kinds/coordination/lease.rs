use crate::kinds::prelude::*;

pub struct Lease;

facts!(namespaced("coordination.k8s.io", "Lease", "leases"));

impl Kind for Lease {
    fn info(&self) -> &KindInfo {
        &FACTS
    }
}
