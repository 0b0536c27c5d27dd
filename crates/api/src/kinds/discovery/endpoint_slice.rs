use crate::equality::{same, same_field};
use crate::kinds::prelude::*;
use crate::kinds::prepare::list_mut;
use crate::table::{Now, age, cells, columns, unless_more};

pub struct EndpointSlice;

facts!(namespaced("discovery.k8s.io", "EndpointSlice", "endpointslices").generation());

impl Kind for EndpointSlice {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: endpoints::slice,
        update: endpoints::slice_update,
        warn: endpoints::slice_warnings,
    }

    /// Everything counts but metadata, and of that the labels.
    fn generation_changes_as_sent(&self, obj: &Value, old: &Value) -> bool {
        ["addressType", "endpoints", "ports"].iter().any(|field| !same_field(obj, old, field))
            || !same_field(&obj["metadata"], &old["metadata"], "labels")
    }

    fn generation_changed(&self, _obj: &Value, _old: &Value) -> bool {
        false
    }

    fn prepare_create(&self, obj: &mut Value) {
        drop_topology(obj);
    }

    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        if !same(&obj["endpoints"], &old["endpoints"]) {
            drop_topology(obj);
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, AddressType, Ports, Endpoints, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let ports = obj.list("ports").iter().map(|port| match port.at("port").as_i64() {
            Some(number) => number.to_string(),
            None if port.has("name") => port.text("name").to_owned(),
            None => "*".to_owned(),
        });
        let addresses = obj.list("endpoints").iter().flat_map(|endpoint| endpoint.list("addresses"));
        let addresses = addresses.filter_map(Value::as_str).map(str::to_owned);
        cells![
            meta::name(obj),
            obj.text("addressType"),
            unless_more(ports, 3, "<unset>"),
            unless_more(addresses, 3, "<unset>"),
            age(obj, now)
        ]
    }
}

/// `deprecatedTopology` is written by nobody since v1.
fn drop_topology(obj: &mut Value) {
    for endpoint in list_mut(obj, "endpoints").iter_mut().filter_map(Value::as_object_mut) {
        endpoint.remove("deprecatedTopology");
    }
}
