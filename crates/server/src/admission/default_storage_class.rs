//! Claims that name no class get the default one (`plugin/pkg/admission/storage/storageclass/setdefault`).

use futures_util::future::BoxFuture;
use orlop_api::meta;
use orlop_api::status::StatusError;

use super::cluster::default_class;
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct DefaultStorageClass;

pub const CLASSES: &str = "storage.k8s.io/storageclasses";
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Create && a.is("", "persistentvolumeclaims") && a.subresource.is_empty()
    }

    fn admit<'a>(&'a self, server: &'a Server, a: &'a mut Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            // An empty class is a choice: none.
            let chosen = a.object["spec"]["storageClassName"].is_string()
                || a.object["metadata"]["annotations"].get(BETA_CLASS).is_some();
            if !chosen && let Some(class) = default_class(server, CLASSES, &DEFAULT) {
                meta::child_mut(&mut a.object, "spec").insert("storageClassName".into(), class.into());
            }
            Ok(())
        })
    }
}
