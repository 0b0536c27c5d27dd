use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct ControllerRevision;

facts!(namespaced("apps", "ControllerRevision", "controllerrevisions"));

impl Kind for ControllerRevision {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: workloads::revision,
        update: workloads::revision_update,
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Controller, Revision, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let owners = obj.list("metadata.ownerReferences");
        let controller =
            owners.iter().find(|owner| owner.flag("controller")).map_or_else(|| "<none>".to_owned(), owner_name);
        cells![meta::name(obj), controller, obj.int("revision"), age(obj, now)]
    }
}

/// `deployment.apps/web`
fn owner_name(owner: &Value) -> String {
    let (group, _) = owner.text("apiVersion").split_once('/').unwrap_or_default();
    let kind = owner.text("kind").to_lowercase();
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{}/{}", group.to_lowercase(), owner.text("name"))
}
