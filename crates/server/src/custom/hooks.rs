//! What deleting a definition begins with (`pkg/registry/customresourcedefinition/etcd.go`).

use orlop_api::field::ErrorList;
use orlop_api::{Value, meta};
use orlop_base::clock;
use serde_json::json;

use super::cleanup::FINALIZER;
use super::rules;
use super::status::{condition, set_condition};
use crate::Server;
use crate::extend::{Extension, Hooks};

pub fn extension() -> Extension {
    Extension::new(super::KEY).hooks(Definition)
}

struct Definition;

impl Hooks for Definition {
    fn validate(&self, _server: &Server, definition: &Value, old: Option<&Value>) -> ErrorList {
        rules::definition::check(definition, old)
    }

    fn begin_delete(&self, definition: &mut Value) -> bool {
        let finalizers = meta::metadata_mut(definition).entry("finalizers").or_insert_with(|| json!([]));
        if let Value::Array(list) = finalizers
            && !list.iter().any(|name| name == FINALIZER)
        {
            list.push(FINALIZER.into());
        }
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        let terminating = condition("Terminating", true, "InstanceDeletionPending", message);
        set_condition(&mut definition["status"], &terminating, &clock::rfc3339());
        true
    }
}
