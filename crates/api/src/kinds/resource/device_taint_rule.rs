use crate::kinds::prelude::*;
use crate::kinds::prepare::{now, set};
use crate::table::{Now, age, cells, columns, since};

pub struct DeviceTaintRule;

facts!(cluster("resource.k8s.io", "DeviceTaintRule", "devicetaintrules").status().generation());

impl Kind for DeviceTaintRule {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: devices::taint_rule,
        update: devices::taint_rule_update,
        "status": devices::taint_rule_status,
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    /// A changed effect counts from now, unless the client says since when.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        self.reset_fields("").keep_old(obj, old);
        let changed = obj.text("spec.taint.effect") != old.text("spec.taint.effect");
        if changed
            && obj.at("spec.taint.timeAdded") == old.at("spec.taint.timeAdded")
            && obj.at("spec.taint").is_object()
        {
            set(obj, "spec.taint.timeAdded", now());
        }
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Key, Value, Effect, TimeAdded, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let taint = obj.at("spec.taint");
        let added = if taint.has("timeAdded") { since(&taint["timeAdded"], now) } else { String::new() };
        cells![meta::name(obj), taint.text("key"), taint.text("value"), taint.text("effect"), added, age(obj, now)]
    }
}
