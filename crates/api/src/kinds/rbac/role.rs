use crate::kinds::prelude::*;

pub struct Role;

facts!(namespaced("rbac.authorization.k8s.io", "Role", "roles"));

impl Kind for Role {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: rbac::role,
        update: rbac::role_update,
    }

    fn create_on_update(&self) -> bool {
        true
    }
}
