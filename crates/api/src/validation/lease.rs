//! Leases.

use serde_json::Value;

use super::prelude::*;
use crate::names;
use crate::object_meta::{self, subdomain_rule};

pub(crate) fn lease(obj: &Value, errors: &mut ErrorList) {
    // Without core's extra rule for finalizers: upstream calls the generic check here.
    errors.extend(object_meta::validate(obj, true, subdomain_rule));
    spec(&obj["spec"], errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate_update(obj, old));
    spec(&obj["spec"], errors);
}

fn spec(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    if let Some(count) = spec["leaseTransitions"].as_i64() {
        non_negative(count, &path.child("leaseTransitions"), errors);
    }
    let strategy = spec.text("strategy");
    if spec.has("strategy") {
        let at = path.child("strategy.strategy");
        if strategy.contains('/') {
            errors.each_invalid(&at, strategy, names::qualified_name(strategy));
        } else {
            one_of(strategy, &["OldestEmulationVersion"], &at, errors);
        }
    }
    if !spec.text("preferredHolder").is_empty() && strategy.is_empty() {
        errors.forbidden(&path.child("preferredHolder"), "may only be specified if `strategy` is defined");
    }
}
