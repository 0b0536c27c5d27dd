use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, containers, selector_or_none};

pub struct ReplicaSet;

facts!(
    namespaced("apps", "ReplicaSet", "replicasets").short(&["rs"]).categories(&["all"]).scale().status().generation()
);

impl Kind for ReplicaSet {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn pod_template(&self) -> Option<&'static str> {
        Some("spec.template")
    }

    validation! {
        create: workloads::replica_set,
        update: workloads::replica_set_update,
        "status": workloads::replicas_status,
        warn: workloads::warnings,
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Desired:integer, Current:integer, Ready:integer, Age, Containers*, Images*, Selector*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.template.spec.containers"));
        let selector = selector_or_none(obj.at("spec.selector"));
        cells![
            meta::name(obj),
            obj.int("spec.replicas"),
            obj.int("status.replicas"),
            obj.int("status.readyReplicas"),
            age(obj, now),
            names,
            images,
            selector
        ]
    }
}
