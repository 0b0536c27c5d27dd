use crate::kinds::prelude::*;

pub struct ClusterRoleBinding;

facts!(cluster("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings"));

impl Kind for ClusterRoleBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
