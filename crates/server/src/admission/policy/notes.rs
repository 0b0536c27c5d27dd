//! What validating policies leave in the audit log: their annotations, and failures that are only to be recorded.

use std::collections::BTreeMap;

use orlop_api::Value as Json;
use serde_json::json;

use crate::audit::Trail;

/// Bytes of one value.
const MAX_VALUE_BYTES: usize = 10 * 1024;
const MAX_FAILURES: usize = 50;
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";

#[derive(Default)]
pub struct Notes {
    /// By key; bindings with different params may make different values.
    annotations: BTreeMap<String, Vec<String>>,
    failures: Vec<Json>,
}

impl Notes {
    pub fn annotate(&mut self, policy: &str, key: &str, value: &str) {
        let value = value.trim();
        let end = (0..=value.len().min(MAX_VALUE_BYTES)).rev().find(|at| value.is_char_boundary(*at));
        let value = &value[..end.unwrap_or(0)];
        let values = self.annotations.entry(format!("{policy}/{key}")).or_default();
        if !value.is_empty() && !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
    }

    pub fn fail(&mut self, policy: &str, binding: &Json, index: usize, message: &str) {
        self.failures.push(json!({
            "message": message, "policy": policy, "binding": orlop_api::meta::name(binding),
            "expressionIndex": index, "validationActions": binding["spec"]["validationActions"],
        }));
    }

    pub fn publish(mut self, trail: &Trail) {
        for (key, values) in self.annotations.iter().filter(|(_, values)| !values.is_empty()) {
            trail.annotate(key, &values.join(", "));
        }
        self.failures.truncate(MAX_FAILURES);
        if !self.failures.is_empty() {
            trail.annotate(FAILURES, &Json::from(self.failures).to_string());
        }
    }
}
