use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, unless_more};

pub struct Endpoints;

facts!(namespaced("", "Endpoints", "endpoints").short(&["ep"]));

impl Kind for Endpoints {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn deprecation(&self, _version: &str) -> Option<String> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned())
    }

    validation! {
        create: endpoints::endpoints,
        update: endpoints::endpoints_update,
        warn: endpoints::endpoints_warnings,
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Endpoints, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), addresses(obj.list("subsets")), age(obj, now)]
    }
}

fn addresses(subsets: &[Value]) -> String {
    let of_subset = |subset: &Value| -> Vec<String> {
        let ips = || subset.list("addresses").iter().map(|address| address.text("ip"));
        match subset.list("ports") {
            [] => ips().map(str::to_owned).collect(),
            ports => ports.iter().flat_map(|port| ips().map(move |ip| host_port(ip, port.int("port")))).collect(),
        }
    };
    // Subsets without addresses show nothing, no subsets show as none.
    let none = if subsets.is_empty() { "<none>" } else { "" };
    unless_more(subsets.iter().flat_map(of_subset), 3, none)
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
