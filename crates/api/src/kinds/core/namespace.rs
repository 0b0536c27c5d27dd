use crate::kinds::prelude::*;
use crate::kinds::prepare::{set, set_in};
use crate::table::{Now, age, cells, columns};

pub struct Namespace;

facts!(
    cluster("", "Namespace", "namespaces")
        .short(&["ns"])
        .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
        .subresource("finalize", "Namespace", &["update"])
        .status()
);

impl Kind for Namespace {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    validation! {
        create: namespace::namespace,
        update: namespace::update,
        "status": namespace::status,
        "finalize": namespace::finalize,
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn publishes_deleted(&self) -> bool {
        false
    }

    fn field_labels(&self) -> FieldLabels {
        field_labels!["status.phase"]
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" | "finalize" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["spec"]),
            _ => ResetFields::NONE,
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        let mut finalizers = obj.list("spec.finalizers").to_vec();
        if !finalizers.iter().any(|name| name == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        set(obj, "spec.finalizers", finalizers);
        set(obj, "status", json!({ "phase": "Active" }));
        label_with_name(obj);
    }

    /// Finalizers change through `finalize` only.
    fn prepare_update(&self, obj: &mut Value, old: &Value) {
        for path in ["spec.finalizers", "status"] {
            crate::kind::keep_old_at(obj, old, path);
        }
        label_with_name(obj);
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Status, Age")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        cells![meta::name(obj), obj.text("status.phase"), age(obj, now)]
    }
}

/// Held by the namespace controller until the namespace is empty.
const FINALIZER: &str = "kubernetes";

/// Lets selectors pick namespaces by name (KEP 2161).
fn label_with_name(obj: &mut Value) {
    let name = crate::meta::name(obj).to_owned();
    set_in(obj, "metadata.labels", "kubernetes.io/metadata.name", name);
}
