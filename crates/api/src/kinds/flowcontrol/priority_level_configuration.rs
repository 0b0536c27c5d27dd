use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns};

pub struct PriorityLevelConfiguration;

facts!(
    cluster("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations")
        .status()
        .generation()
);

impl Kind for PriorityLevelConfiguration {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: flow_control::level,
        update: flow_control::level_update,
        "status": flow_control::status,
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        const QUEUING: &str = "spec.limited.limitResponse.queuing";
        let cell = |path: &str, field: &str| match obj.at(path) {
            Value::Object(limits) => limits.get(field).cloned().unwrap_or_default(),
            _ => "<none>".into(),
        };
        cells![
            meta::name(obj),
            obj.text("spec.type"),
            cell("spec.limited", "nominalConcurrencyShares"),
            cell(QUEUING, "queues"),
            cell(QUEUING, "handSize"),
            cell(QUEUING, "queueLengthLimit"),
            age(obj, now)
        ]
    }
}
