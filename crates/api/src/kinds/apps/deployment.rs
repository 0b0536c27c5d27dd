use crate::equality::same_field;
use crate::kinds::prelude::*;

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
}
