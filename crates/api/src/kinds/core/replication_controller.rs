use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, containers, labels};

pub struct ReplicationController;

facts!(
    namespaced("", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .categories(&["all"])
        .scale()
        .status()
        .generation()
);

impl Kind for ReplicationController {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn pod_template(&self) -> Option<&'static str> {
        Some("spec.template")
    }

    validation! {
        create: workloads::replication_controller,
        update: workloads::replication_controller_update,
        "status": workloads::replicas_status,
        warn: workloads::replication_controller_warnings,
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["status.replicas" => count]
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Desired:integer, Current:integer, Ready:integer, Age, Containers*, Images*, Selector*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.template.spec.containers"));
        cells![
            meta::name(obj),
            obj.int("spec.replicas"),
            obj.int("status.replicas"),
            obj.int("status.readyReplicas"),
            age(obj, now),
            names,
            images,
            labels(obj.map("spec.selector"))
        ]
    }
}
