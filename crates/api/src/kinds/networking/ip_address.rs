use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct IPAddress;

facts!(cluster("networking.k8s.io", "IPAddress", "ipaddresses").short(&["ip"]));

impl Kind for IPAddress {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: addresses::address,
        update: addresses::address_update,
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, ParentRef")
    }

    /// Upstream tells the age, too, in a cell that no column is for.
    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let parent = match obj.at("spec.parentRef") {
            Value::Null => "<none>".to_owned(),
            parent => parent_name(parent),
        };
        cells![meta::name(obj), parent, age(obj, now)]
    }
}

/// `services/default/web`
fn parent_name(parent: &Value) -> String {
    let (group, namespace) = (parent.text("group"), parent.text("namespace"));
    let mut text = parent.text("resource").to_lowercase();
    if !group.is_empty() {
        text = format!("{text}.{}", group.to_lowercase());
    }
    if !namespace.is_empty() {
        text = format!("{text}/{namespace}");
    }
    format!("{text}/{}", parent.text("name"))
}
