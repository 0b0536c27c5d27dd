use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, or};

pub struct FlowSchema;

facts!(cluster("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas").status().generation());

impl Kind for FlowSchema {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: flow_control::schema,
        update: flow_control::schema_update,
        "status": flow_control::status,
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn row_place(&self) -> Option<fn(&Value) -> i64> {
        Some(|schema| schema.int("spec.matchingPrecedence"))
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, PriorityLevel, MatchingPrecedence, DistinguisherMethod, Age, MissingPL")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let missing = condition(obj, "Dangling").map_or("?", |c| c.text("status"));
        cells![
            meta::name(obj),
            obj.text("spec.priorityLevelConfiguration.name"),
            obj.int("spec.matchingPrecedence"),
            or(obj.text("spec.distinguisherMethod.type"), "<none>"),
            age(obj, now),
            missing
        ]
    }
}
