use crate::kinds::prelude::*;

pub struct ClusterRole;

facts!(cluster("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"));

impl Kind for ClusterRole {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
