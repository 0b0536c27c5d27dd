//! Admission: the last word on a write, after authorization, before validation
//! (`k8s.io/apiserver/pkg/admission`). One file per plugin; the order is upstream's.

mod always;
mod always_pull_images;
mod certificate_approval;
mod certificate_signing;
mod certificate_subject_restriction;
mod cluster;
mod cluster_trust_bundle_attest;
mod connect;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod event_rate_limit;
mod extended_resource_toleration;
mod image_policy_webhook;
mod limit_pod_hard_anti_affinity_topology;
mod limit_ranger;
mod limits;
pub mod metrics;
mod mountable_secrets;
mod namespace_auto_provision;
mod namespace_exists;
mod namespace_lifecycle;
mod node_declared_feature_validator;
mod optional;
mod owner_references_permission_enforcement;
mod persistent_volume_claim_resize;
mod pod_node_selector;
mod pod_resize;
mod pod_security;
mod pod_toleration_restriction;
mod pod_topology_labels;
mod policy;
mod priority;
mod resource_quota;
mod rules;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
mod versioned;
mod webhook;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_client::transport::UserInfo;
use tokio::time::Instant;

use crate::Server;
use crate::audit::Trail;
use crate::call::Warnings;
use crate::resource::Resource;
pub(crate) use cluster::find;
pub use default_toleration_seconds::DefaultTolerationSeconds;
use metrics::{Half, PluginSeconds};
pub use optional::{Choice, Configuration};
pub use policy::{Conditions, policy_errors};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// What a plugin may look at, and what it may change: `object`.
pub struct Attributes {
    pub operation: Operation,
    pub resource: Resource,
    pub subresource: String,
    pub namespace: String,
    /// Empty while a generated name is not yet known.
    pub name: String,
    /// The object as it would be written, in the stored version; `Null` for deletions.
    pub object: Value,
    pub old_object: Option<Arc<Value>>,
    pub dry_run: bool,
    pub user: Arc<UserInfo>,
    pub warnings: Warnings,
    pub trail: Trail,
    /// An update by PATCH.
    pub patched: bool,
    /// `fieldManager` as the client gave it.
    pub field_manager: String,
    /// apiVersion and kind of `object` where it is a connection's options.
    pub connect_kind: Option<(String, String)>,
    pub reinvocation: webhook::Reinvocation,
}

impl Operation {
    /// As webhooks and policies name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl Attributes {
    /// Group and resource of the request: `is("", "pods")`.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        let info = self.resource.info();
        info.group == group && info.plural == resource
    }

    /// 403 that names the object, or what it will be called after.
    pub fn forbidden(&self, why: &str) -> StatusError {
        let generated = meta::get(&self.object, "generateName");
        let candidates = [&*self.name, meta::name(&self.object), generated, "Unknown"];
        let name = candidates.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        StatusError::forbidden(self.resource.group_resource(), name, why)
    }
}

/// One plugin. Plugins read the cluster through the server's store, in memory.
pub trait Plugin: Send + Sync + 'static {
    /// Upstream's name, which also gives its place in the order.
    fn name(&self) -> &'static str;

    /// Cheap test that keeps the plugin out of requests it never touches.
    fn handles(&self, attributes: &Attributes) -> bool;

    /// May change `attributes.object`, may refuse.
    fn admit<'a>(
        &'a self,
        _server: &'a Server,
        _attributes: &'a mut Attributes,
    ) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async { Ok(()) })
    }

    /// Sees the object in its final form; may refuse.
    fn validate<'a>(
        &'a self,
        _server: &'a Server,
        _attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async { Ok(()) })
    }
}

/// A plugin at work, with what its work takes.
pub struct Measured {
    plugin: Arc<dyn Plugin>,
    seconds: PluginSeconds,
}

impl Measured {
    pub fn new(plugin: Arc<dyn Plugin>) -> Self {
        Self { plugin, seconds: PluginSeconds::default() }
    }

    pub async fn admit(&self, server: &Server, a: &mut Attributes) -> Result<(), StatusError> {
        if !self.plugin.handles(a) {
            return Ok(());
        }
        let began = Instant::now();
        let result = self.plugin.admit(server, a).await;
        self.seconds.observe(self.plugin.name(), Half::Admit, a.operation, began.elapsed(), result.is_err());
        result
    }

    pub async fn validate(&self, server: &Server, a: &Attributes) -> Result<(), StatusError> {
        if !self.plugin.handles(a) {
            return Ok(());
        }
        let began = Instant::now();
        let result = self.plugin.validate(server, a).await;
        self.seconds.observe(self.plugin.name(), Half::Validate, a.operation, began.elapsed(), result.is_err());
        result
    }
}

/// Every plugin upstream knows, in the order it runs them.
const ORDER: &[&str] = &[
    "AlwaysAdmit",
    "NamespaceAutoProvision",
    "NamespaceLifecycle",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "AlwaysPullImages",
    "ImagePolicyWebhook",
    "PodSecurity",
    "PodNodeSelector",
    "Priority",
    "DefaultTolerationSeconds",
    "PodTolerationRestriction",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PodGroupProtection",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "NodeDeclaredFeatureValidator",
    "PodResizeValidator",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
    "AlwaysDeny",
];

/// The plugins in upstream's order, whatever order they came in.
pub fn ordered(mut plugins: Vec<Arc<dyn Plugin>>) -> Vec<Arc<dyn Plugin>> {
    plugins.sort_by_key(|p| ORDER.iter().position(|name| *name == p.name()).unwrap_or(ORDER.len()));
    plugins
}

/// The plugins that need nothing but the server.
pub fn builtin() -> Vec<Arc<dyn Plugin>> {
    vec![
        Arc::new(namespace_lifecycle::NamespaceLifecycle),
        Arc::new(limit_ranger::LimitRanger),
        Arc::new(service_account::ServiceAccount),
        Arc::new(taint_nodes_by_condition::TaintNodesByCondition),
        Arc::new(pod_security::PodSecurity),
        Arc::new(priority::Priority),
        Arc::new(default_toleration_seconds::DefaultTolerationSeconds::default()),
        Arc::new(default_storage_class::DefaultStorageClass),
        Arc::new(storage_object_in_use_protection::StorageObjectInUseProtection),
        Arc::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
        Arc::new(runtime_class::RuntimeClass),
        Arc::new(certificate_approval::CertificateApproval),
        Arc::new(certificate_signing::CertificateSigning),
        Arc::new(cluster_trust_bundle_attest::ClusterTrustBundleAttest),
        Arc::new(certificate_subject_restriction::CertificateSubjectRestriction),
        Arc::new(default_ingress_class::DefaultIngressClass),
        Arc::new(pod_topology_labels::PodTopologyLabels),
        Arc::new(node_declared_feature_validator::NodeDeclaredFeatureValidator),
        Arc::new(pod_resize::PodResizeValidator),
        Arc::new(policy::MutatingAdmissionPolicy::default()),
        Arc::new(webhook::MutatingAdmissionWebhook::default()),
        Arc::new(policy::ValidatingAdmissionPolicy::default()),
        Arc::new(webhook::ValidatingAdmissionWebhook::default()),
        Arc::new(resource_quota::ResourceQuota),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_has_its_place() {
        let places: Vec<usize> = builtin()
            .iter()
            .map(|p| ORDER.iter().position(|name| *name == p.name()).expect("known upstream"))
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}
