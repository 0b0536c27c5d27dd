//! The persistent volume binder: gives claims their volumes and tells who has whom
//! (`pkg/controller/volume/persistentvolume`).
//!
//! A binding is written down in four steps, each a decision of its own that finds the one before done:
//! the volume names the claim, the claim names the volume, the volume is Bound, the claim is Bound. Each
//! can be repeated; the first decides who gets the volume.

pub mod claims;
#[cfg(test)]
pub(crate) mod tests;
pub mod volumes;

use orlop_client::engine::Grant;

const NAME: &str = "persistent-volume-binder";
const EVENT_SOURCE: &str = "persistentvolume-controller";

fn grants() -> Vec<Grant> {
    let mut grants = vec![
        Grant::new("", &["persistentvolumes"], &["get", "list", "watch", "update", "create", "delete"]),
        Grant::new("", &["persistentvolumes/status"], &["update"]),
        Grant::new("", &["persistentvolumeclaims"], &["get", "list", "watch", "update"]),
        Grant::new("", &["persistentvolumeclaims/status"], &["update"]),
        Grant::new("", &["pods"], &["list", "watch", "get", "create", "delete"]),
        Grant::new("storage.k8s.io", &["storageclasses"], &["get", "list", "watch"]),
        Grant::new("", &["services"], &["get", "create", "delete"]),
        Grant::new("", &["endpoints"], &["get", "create", "delete"]),
        Grant::new("", &["secrets"], &["get"]),
        Grant::new("", &["nodes"], &["get", "list"]),
    ];
    grants.extend(Grant::EVENTS);
    grants
}
