use crate::kinds::prelude::*;

pub struct RoleBinding;

facts!(namespaced("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"));

impl Kind for RoleBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
