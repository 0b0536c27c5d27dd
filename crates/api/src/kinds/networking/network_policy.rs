use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, selector_or_none};

pub struct NetworkPolicy;

facts!(namespaced("networking.k8s.io", "NetworkPolicy", "networkpolicies").short(&["netpol"]).generation());

impl Kind for NetworkPolicy {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: networking::network_policy,
        update: networking::network_policy_update,
    }

    /// Upstream compares to the letter: empty rules are not none.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        obj["spec"] != old["spec"]
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Pod-Selector, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), selector_or_none(obj.at("spec.podSelector")), age(obj, now)]
    }
}
