//! Typed views: `k8s-openapi` structs, decoded and encoded in this crate only.
//!
//! Serde code is instantiated where it is called; these non-generic impls keep it here, once,
//! however many crates handle a kind.

pub use k8s_openapi;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// A built-in kind with a typed view.
pub trait Typed: Clone + Send + Sync + 'static {
    const API_VERSION: &'static str;
    const GROUP: &'static str;
    const VERSION: &'static str;
    const KIND: &'static str;
    const PLURAL: &'static str;
    const NAMESPACED: bool;

    /// Decodes JSON; unknown fields are ignored.
    fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error>;
    /// Encodes JSON with apiVersion and kind.
    fn encode(&self) -> Vec<u8>;
    fn meta(&self) -> &ObjectMeta;
    fn meta_mut(&mut self) -> &mut ObjectMeta;

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }
    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }
    fn resource_version(&self) -> &str {
        self.meta().resource_version.as_deref().unwrap_or_default()
    }
}

/// Upstream takes conditions that do not say since when (of Services, say), which the typed view does not: here
/// they get Go's zero time. One such object must not stop the informer of all of its kind.
fn with_times(bytes: &[u8]) -> Option<Value> {
    let mut object: Value = serde_json::from_slice(bytes).ok()?;
    let mut mended = false;
    for condition in object.pointer_mut("/status/conditions")?.as_array_mut()? {
        let condition = condition.as_object_mut()?;
        if condition.get("lastTransitionTime").is_none_or(Value::is_null) {
            condition.insert("lastTransitionTime".to_owned(), "0001-01-01T00:00:00Z".into());
            mended = true;
        }
    }
    mended.then_some(object)
}

macro_rules! typed {
    ($($ty:path => $namespaced:literal),* $(,)?) => {$(
        impl Typed for $ty {
            const API_VERSION: &'static str = <$ty as k8s_openapi::Resource>::API_VERSION;
            const GROUP: &'static str = <$ty as k8s_openapi::Resource>::GROUP;
            const VERSION: &'static str = <$ty as k8s_openapi::Resource>::VERSION;
            const KIND: &'static str = <$ty as k8s_openapi::Resource>::KIND;
            const PLURAL: &'static str = <$ty as k8s_openapi::Resource>::URL_PATH_SEGMENT;
            const NAMESPACED: bool = $namespaced;

            fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
                serde_json::from_slice(bytes).or_else(|error| with_times(bytes).map_or(Err(error), serde_json::from_value))
            }
            fn encode(&self) -> Vec<u8> {
                serde_json::to_vec(self).expect("typed objects have only string keys")
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )*};
}

/// The typed kinds under short names: `use orlop_api::typed::kinds::*`.
pub mod kinds {
    pub use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
    pub use k8s_openapi::api::batch::v1::{CronJob, Job};
    pub use k8s_openapi::api::certificates::v1::{
        CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest,
    };
    pub use k8s_openapi::api::coordination::v1::Lease;
    pub use k8s_openapi::api::core::v1::{
        ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
        ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
    };
    pub use k8s_openapi::api::discovery::v1::EndpointSlice;
    pub use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
    pub use k8s_openapi::api::node::v1::RuntimeClass;
    pub use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    pub use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
    pub use k8s_openapi::api::scheduling::v1::PriorityClass;
    pub use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttributesClass};
}

typed! {
    kinds::ConfigMap => true, kinds::Endpoints => true, kinds::Event => true, kinds::Namespace => false,
    kinds::Node => false, kinds::PersistentVolume => false, kinds::PersistentVolumeClaim => true, kinds::Pod => true,
    kinds::ReplicationController => true, kinds::ResourceQuota => true, kinds::Secret => true, kinds::Service => true, kinds::ServiceAccount => true,
    kinds::ControllerRevision => true, kinds::DaemonSet => true, kinds::Deployment => true, kinds::ReplicaSet => true,
    kinds::StatefulSet => true, kinds::CronJob => true, kinds::Job => true, kinds::Lease => true,
    kinds::EndpointSlice => true, kinds::PodDisruptionBudget => true, kinds::ClusterRole => false,
    kinds::ClusterRoleBinding => false, kinds::Role => true, kinds::RoleBinding => true, kinds::PriorityClass => false,
    kinds::StorageClass => false, kinds::VolumeAttributesClass => false, kinds::ClusterTrustBundle => false, kinds::PodCertificateRequest => true,
    kinds::RuntimeClass => false, kinds::CertificateSigningRequest => false, kinds::IPAddress => false,
    kinds::ServiceCIDR => false,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_does_not_say_since_when_is_decoded() {
        for since in ["", r#","lastTransitionTime":null"#] {
            let text = format!(
                r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s"}},"status":{{"conditions":[{{"type":"T","status":"True","reason":"R","message":"M"{since}}}]}}}}"#
            );
            let service = kinds::Service::decode(text.as_bytes()).unwrap();
            assert_eq!(service.status.unwrap().conditions.unwrap()[0].type_, "T");
        }
        assert!(kinds::Service::decode(br#"{"apiVersion":"v1","kind":"Service","spec":7}"#).is_err());
    }
}
