//! Admission: the last word on a write, after authorization, before validation
//! (`k8s.io/apiserver/pkg/admission`). One file per plugin; the order is upstream's.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_client::transport::UserInfo;

use crate::Server;
use crate::call::Warnings;
use crate::resource::Resource;

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
    /// The object as it would be written, in the version of the request; `Null` for deletions.
    pub object: Value,
    pub old_object: Option<Arc<Value>>,
    pub dry_run: bool,
    pub user: Arc<UserInfo>,
    pub warnings: Warnings,
}

impl Attributes {
    /// Group and resource of the request: `is("", "pods")`.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        let info = self.resource.info();
        info.group == group && info.plural == resource
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
    Vec::new()
}
