use crate::kinds::prelude::*;

pub struct ClusterRole;

facts!(cluster("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"));

impl Kind for ClusterRole {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: rbac::cluster_role,
        update: rbac::cluster_role_update,
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
