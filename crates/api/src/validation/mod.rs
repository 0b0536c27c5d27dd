//! What an object of a built-in kind must be like, in upstream's words, paths and order
//! (`pkg/apis/*/validation`, called by the strategies in `pkg/registry`), with feature gates as v1.37 has them.
//!
//! One file a subject. A rule takes the value it is about, its path, and the list that broken rules go to; it never
//! panics, whatever the value. A rule that upstream has moved to declarative validation stands where upstream's
//! server reports it: after all others.

pub(crate) mod prelude;

pub(crate) mod addresses;
pub(crate) mod admission_policy;
pub(crate) mod api_service;
pub(crate) mod autoscaler;
pub(crate) mod batch;
pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod csi;
pub(crate) mod definition;
pub(crate) mod device_claim;
pub(crate) mod device_claim_status;
pub(crate) mod device_slice;
pub(crate) mod devices;
pub(crate) mod endpoints;
pub(crate) mod event;
pub(crate) mod flow_control;
pub(crate) mod job_status;
pub(crate) mod lease;
pub(crate) mod limit_range;
pub(crate) mod migration;
pub(crate) mod namespace;
pub(crate) mod networking;
pub(crate) mod node;
pub(crate) mod persistent_volume;
pub(crate) mod pod;
pub(crate) mod pod_status;
pub(crate) mod pod_template;
pub(crate) mod pod_warnings;
pub(crate) mod rbac;
pub(crate) mod resource_quota;
pub(crate) mod runtime_class;
pub(crate) mod security;
pub(crate) mod service;
pub(crate) mod service_account;
pub(crate) mod sets;
pub(crate) mod storage;
pub(crate) mod webhook_configuration;
pub(crate) mod workloads;

mod claim;
mod conditions;
mod containers;
mod definition_schema;
mod device_capacity;
mod diff;
mod env;
mod mounts;
mod network;
mod options;
mod pod_annotations;
mod pod_resize;
mod pod_spec;
mod probes;
mod projected;
mod resources;
mod scheduling;
mod selector;
pub(crate) mod service_ips;
mod success_policy;
mod volume_warnings;
mod volumes;
mod webhooks;
mod windows;

#[cfg(test)]
mod tests;
