//! Every stable built-in kind of Kubernetes v1.37: one file each, one line each in the list below.
//!
//! A file holds the facts of its kind (names, verbs, subresources) and the hooks in which it
//! differs from the generic behaviour of [`Kind`]. Facts are those of upstream's
//! `api/discovery`; hooks follow `pkg/registry/<group>/<kind>/strategy.go`, columns
//! `pkg/printers/internalversion`.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;
pub mod storagemigration;

mod facts;
mod labels;
pub(crate) mod pod;
mod prelude;
pub(crate) mod prepare;
pub(crate) mod read;
mod validation;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::kind::{Kind, KindInfo};

macro_rules! kinds {
    ($($kind:path),* $(,)?) => {
        /// Groups in discovery's order, kinds of a group by plural.
        static ALL: &[&dyn Kind] = &[$(&$kind),*];
    };
}

kinds! {
    core::binding::Binding,
    core::component_status::ComponentStatus,
    core::config_map::ConfigMap,
    core::endpoints::Endpoints,
    core::event::Event,
    core::limit_range::LimitRange,
    core::namespace::Namespace,
    core::node::Node,
    core::persistent_volume_claim::PersistentVolumeClaim,
    core::persistent_volume::PersistentVolume,
    core::pod::Pod,
    core::pod_template::PodTemplate,
    core::replication_controller::ReplicationController,
    core::resource_quota::ResourceQuota,
    core::secret::Secret,
    core::service_account::ServiceAccount,
    core::service::Service,
    apiregistration::api_service::APIService,
    apps::controller_revision::ControllerRevision,
    apps::daemon_set::DaemonSet,
    apps::deployment::Deployment,
    apps::replica_set::ReplicaSet,
    apps::stateful_set::StatefulSet,
    events::event::Event,
    authentication::self_subject_review::SelfSubjectReview,
    authentication::token_review::TokenReview,
    authorization::local_subject_access_review::LocalSubjectAccessReview,
    authorization::self_subject_access_review::SelfSubjectAccessReview,
    authorization::self_subject_rules_review::SelfSubjectRulesReview,
    authorization::subject_access_review::SubjectAccessReview,
    autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscaler,
    batch::cron_job::CronJob,
    batch::job::Job,
    certificates::certificate_signing_request::CertificateSigningRequest,
    certificates::cluster_trust_bundle::ClusterTrustBundle,
    certificates::pod_certificate_request::PodCertificateRequest,
    networking::ingress_class::IngressClass,
    networking::ingress::Ingress,
    networking::ip_address::IPAddress,
    networking::network_policy::NetworkPolicy,
    networking::service_cidr::ServiceCIDR,
    policy::pod_disruption_budget::PodDisruptionBudget,
    rbac::cluster_role_binding::ClusterRoleBinding,
    rbac::cluster_role::ClusterRole,
    rbac::role_binding::RoleBinding,
    rbac::role::Role,
    storage::csi_driver::CSIDriver,
    storage::csi_node::CSINode,
    storage::csi_storage_capacity::CSIStorageCapacity,
    storage::storage_class::StorageClass,
    storage::volume_attachment::VolumeAttachment,
    storage::volume_attributes_class::VolumeAttributesClass,
    admissionregistration::mutating_admission_policy::MutatingAdmissionPolicy,
    admissionregistration::mutating_admission_policy_binding::MutatingAdmissionPolicyBinding,
    admissionregistration::mutating_webhook_configuration::MutatingWebhookConfiguration,
    admissionregistration::validating_admission_policy::ValidatingAdmissionPolicy,
    admissionregistration::validating_admission_policy_binding::ValidatingAdmissionPolicyBinding,
    admissionregistration::validating_webhook_configuration::ValidatingWebhookConfiguration,
    apiextensions::custom_resource_definition::CustomResourceDefinition,
    scheduling::priority_class::PriorityClass,
    coordination::lease::Lease,
    node::runtime_class::RuntimeClass,
    discovery::endpoint_slice::EndpointSlice,
    resource::device_class::DeviceClass,
    resource::device_taint_rule::DeviceTaintRule,
    resource::resource_claim::ResourceClaim,
    resource::resource_claim_template::ResourceClaimTemplate,
    resource::resource_slice::ResourceSlice,
    flowcontrol::flow_schema::FlowSchema,
    flowcontrol::priority_level_configuration::PriorityLevelConfiguration,
    storagemigration::storage_version_migration::StorageVersionMigration,
}

/// Every built-in kind: groups in discovery's order, kinds of a group by plural.
pub fn all() -> &'static [&'static dyn Kind] {
    ALL
}

/// The kind served as `plural` under `group/version`.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static dyn Kind> {
    lookup(&INDEX.by_plural, group, version, plural)
}

/// The kind named `kind` under `group/version`.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static dyn Kind> {
    lookup(&INDEX.by_kind, group, version, kind)
}

/// Facts of a kind that is no resource of its own (`Scale`).
pub(crate) fn unlisted(group: &'static str, kind: &'static str, plural: &'static str) -> KindInfo {
    facts::cluster(group, kind, plural).verbs(&[]).0
}

type ByName = BTreeMap<&'static str, Vec<&'static dyn Kind>>;

/// Kinds by one of their names; a name occurs in one group, seldom two.
struct Index {
    by_plural: ByName,
    by_kind: ByName,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { by_plural: ByName::new(), by_kind: ByName::new() };
    for kind in ALL {
        let info = kind.info();
        index.by_plural.entry(&info.plural).or_default().push(*kind);
        index.by_kind.entry(&info.kind).or_default().push(*kind);
    }
    index
});

fn lookup(names: &ByName, group: &str, version: &str, name: &str) -> Option<&'static dyn Kind> {
    let serves = |kind: &&&dyn Kind| kind.info().group == group && kind.info().versions.iter().any(|v| v == version);
    names.get(name)?.iter().find(serves).copied()
}

#[cfg(test)]
mod tests;
