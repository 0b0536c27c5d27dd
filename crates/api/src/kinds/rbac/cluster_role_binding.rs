use crate::kinds::prelude::*;
use crate::kinds::rbac::subjects;
use crate::table::{Now, age, cells, columns};

pub struct ClusterRoleBinding;

facts!(cluster("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings"));

impl Kind for ClusterRoleBinding {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: rbac::cluster_role_binding,
        update: rbac::cluster_role_binding_update,
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Role, Age, Users*, Groups*, ServiceAccounts*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let role = format!("{}/{}", obj.text("roleRef.kind"), obj.text("roleRef.name"));
        let [users, groups, accounts] = subjects(obj);
        cells![meta::name(obj), role, age(obj, now), users, groups, accounts]
    }
}
