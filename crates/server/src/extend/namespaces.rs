//! Namespaces end in two steps: Terminating first, gone when their finalizers are
//! (`pkg/registry/core/namespace/storage`).

use orlop_api::{Value, meta};

use super::{Extension, Hooks};

pub fn extension() -> Extension {
    Extension::new("namespaces").hooks(Lifecycle)
}

struct Lifecycle;

impl Hooks for Lifecycle {
    fn begin_delete(&self, namespace: &mut Value) -> bool {
        meta::child_mut(namespace, "status").insert("phase".into(), "Terminating".into());
        true
    }

    fn may_remove(&self, namespace: &Value) -> bool {
        namespace["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty)
    }
}
