//! ServiceAccounts.

use serde_json::Value;

use super::prelude::*;
use crate::kinds::read::annotation;
use crate::object_meta::subdomain_rule;

pub(crate) fn service_account(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
}

pub(crate) fn update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    service_account(obj, errors);
}

const ENFORCE_MOUNTABLE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

/// An annotation that is on its way out (KEP 2799), said once.
pub(crate) fn warnings(obj: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| old["metadata"]["annotations"].get(ENFORCE_MOUNTABLE_SECRETS).is_some()) {
        return Vec::new();
    }
    match annotation(obj, ENFORCE_MOUNTABLE_SECRETS) {
        "" => Vec::new(),
        _ => vec![format!(
            "metadata.annotations[{ENFORCE_MOUNTABLE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to \
             isolate access to mounted secrets"
        )],
    }
}
