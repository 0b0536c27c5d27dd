use crate::equality::same_field;
use crate::kinds::prelude::*;
use crate::table::{Now, age, cells, columns, containers, label_selector};

pub struct Deployment;

facts!(
    namespaced("apps", "Deployment", "deployments")
        .short(&["deploy"])
        .categories(&["all"])
        .scale()
        .status()
        .generation()
);

impl Kind for Deployment {
    fn info(&self) -> &KindInfo {
        &FACTS
    }

    fn pod_template(&self) -> Option<&'static str> {
        Some("spec.template")
    }

    validation! {
        create: workloads::deployment,
        update: workloads::deployment_update,
        "status": workloads::deployment_status,
        warn: workloads::warnings,
    }

    fn reset_fields(&self, subresource: &str) -> ResetFields {
        match subresource {
            "" => ResetFields::Only(&["status"]),
            "status" => ResetFields::Only(&["metadata.labels", "spec"]),
            _ => ResetFields::NONE,
        }
    }

    /// Annotations count too: `kubectl rollout` and the revision history live there.
    fn generation_changed(&self, obj: &Value, old: &Value) -> bool {
        !same_field(obj, old, "spec") || !same_field(&obj["metadata"], &old["metadata"], "annotations")
    }

    fn columns(&self) -> Vec<Column> {
        columns("Name, Ready, Up-to-date, Available, Age, Containers*, Images*, Selector*")
    }

    fn row(&self, obj: &Value, now: Now) -> Vec<Value> {
        let [names, images] = containers(obj.list("spec.template.spec.containers"));
        let ready = format!("{}/{}", obj.int("status.readyReplicas"), obj.int("spec.replicas"));
        let selector = label_selector(obj.at("spec.selector")).unwrap_or_else(|| "<invalid>".to_owned());
        cells![
            meta::name(obj),
            ready,
            obj.int("status.updatedReplicas"),
            obj.int("status.availableReplicas"),
            age(obj, now),
            names,
            images,
            selector
        ]
    }
}
