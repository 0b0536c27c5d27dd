use crate::equality::{same, same_field};
use crate::kinds::prelude::*;
use crate::kinds::prepare::list_mut;

pub struct EndpointSlice;

facts!(namespaced("discovery.k8s.io", "EndpointSlice", "endpointslices").generation());

impl Kind for EndpointSlice {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    /// Everything counts but metadata, and of that the labels.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        ["addressType", "endpoints", "ports"].iter().any(|field| !same_field(obj, old, field))
            || !same_field(&obj["metadata"], &old["metadata"], "labels")
    }

    fn prepare_create(&self, obj: &mut Value) {
        drop_topology(obj);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        if !same(&obj["endpoints"], &old["endpoints"]) {
            drop_topology(obj);
        }
    }
}

/// `deprecatedTopology` is written by nobody since v1.
fn drop_topology(obj: &mut Value) {
    for endpoint in list_mut(obj, "endpoints").iter_mut().filter_map(Value::as_object_mut) {
        endpoint.remove("deprecatedTopology");
    }
}
