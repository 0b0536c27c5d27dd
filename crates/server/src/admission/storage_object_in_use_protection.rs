//! Claims and volumes cannot vanish under those who use them: a finalizer from the first moment
//! (`plugin/pkg/admission/storage/storageobjectinuseprotection`).

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use serde_json::json;

use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.subresource.is_empty() && finalizer(a).is_some()
    }

    fn admit<'a>(&'a self, _: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        if let Some(finalizer) = finalizer(a) {
            let list = meta::metadata_mut(&mut a.object).entry("finalizers").or_insert_with(|| json!([]));
            if let Value::Array(list) = list
                && !list.iter().any(|f| f == finalizer)
            {
                list.push(finalizer.into());
            }
        }
        Box::pin(async { Ok(()) })
    }
}

fn finalizer(a: &Attributes) -> Option<&'static str> {
    match () {
        () if a.is("", "persistentvolumeclaims") => Some("kubernetes.io/pvc-protection"),
        () if a.is("", "persistentvolumes") => Some("kubernetes.io/pv-protection"),
        () if a.is("storage.k8s.io", "volumeattributesclasses") => Some("kubernetes.io/vac-protection"),
        () => None,
    }
}
