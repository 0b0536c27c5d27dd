use crate::kinds::core::service::load_balancer_addresses;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, or};

pub struct Ingress;

facts!(namespaced("networking.k8s.io", "Ingress", "ingresses").short(&["ing"]).status().generation());

impl Kind for Ingress {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: networking::ingress,
        update: networking::ingress_update,
        "status": networking::ingress_status,
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Class, Hosts, Address, Ports, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let ports = if obj.list("spec.tls").is_empty() { "80" } else { "80, 443" };
        cells![
            meta::name(obj),
            or(obj.text("spec.ingressClassName"), "<none>"),
            hosts(obj.list("spec.rules")),
            load_balancer_addresses(obj),
            ports,
            age(obj, now)
        ]
    }
}

/// Three rules are looked at; those without a host count as shown.
fn hosts(rules: &[Value]) -> String {
    /// Upstream's number of hosts shown.
    const SHOWN: usize = 3;
    let mut shown: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= shown.len() == SHOWN;
        if !more && !rule.text("host").is_empty() {
            shown.push(rule.text("host"));
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (_, false) => shown.join(","),
        (_, true) => format!("{} + {} more...", shown.join(","), rules.len() - SHOWN),
    }
}
