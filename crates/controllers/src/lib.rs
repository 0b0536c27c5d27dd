//! Controllers: each one file or folder, one pure `decide`, one line in the [`list`].
//!
//! What a controller reads, may write and wants done stands in its own module; who runs it, retries,
//! waits and reports is [`orlop_client::engine`].

pub mod list;

pub use certificates::Request as CertificateRequest;

mod common;

mod account_token;
mod bootstrap_token;
mod certificates;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod event_ttl;
mod garbage_collector;
mod job;
mod namespace;
mod node_lifecycle;
mod pod_gc;
mod replicas;
mod resource_quota;
mod root_ca_publisher;
mod service_account;
mod service_cidr;
mod stateful_set;
mod taint_eviction;
mod ttl_after_finished;
mod volume;
