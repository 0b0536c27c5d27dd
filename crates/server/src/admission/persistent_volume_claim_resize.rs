//! Only bound claims of classes that can grow may grow (`plugin/pkg/admission/storage/persistentvolume/resize`).

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::resource_list::quantity;
use orlop_api::status::StatusError;

use super::cluster::find;
use super::default_storage_class::{BETA_CLASS, CLASSES};
use super::{Attributes, Operation, Plugin};
use crate::Server;

pub struct PersistentVolumeClaimResize;

impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Update && a.is("", "persistentvolumeclaims") && a.subresource.is_empty()
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(std::future::ready(decide(server, a)))
    }
}

fn decide(server: &Server, a: &Attributes) -> Result<(), StatusError> {
    let Some(old) = a.old_object.as_deref() else { return Ok(()) };
    let size = |claim: &Value| quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    if size(&a.object) <= size(old) {
        return Ok(());
    }
    if old["status"]["phase"] != "Bound" {
        return Err(a.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let (class, before) = (class_of(&a.object), class_of(old));
    let can_grow = !class.is_empty()
        && class == before
        && find(server, CLASSES, "", class).is_some_and(|class| class["allowVolumeExpansion"] == true);
    if can_grow {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(a.forbidden(why))
}

fn class_of(claim: &Value) -> &str {
    let old = claim["metadata"]["annotations"][BETA_CLASS].as_str();
    old.or_else(|| claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}
