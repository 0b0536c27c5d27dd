//! The node agent: registers this machine as a node, runs the pods bound to it, and tells what
//! became of them.
//!
//! A pod is decided by pure functions and carried out by a thin loop: [`pod::plan`] says what to do,
//! [`status`] says what is. Neither reads a clock, a file or a socket. The world beyond is three
//! traits: `ContainerRuntime`, `PodNetwork`, `ImageService`; and the API client.

pub mod config;
mod context;
mod fd_io;
mod kubelet;
pub mod metrics;
mod names;
mod objects;
mod observed;
mod pods;
mod roster;
mod usage;
mod users;

pub mod admission;
pub mod container;
pub mod env;
pub mod eviction;
pub mod files;
pub mod images;
pub mod logs;
pub mod node;
pub mod pod;
pub mod probes;
pub mod resources;
pub mod server;
pub mod sources;
pub mod status;
pub mod volumes;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod testing;

pub use config::KubeletConfig;
pub use kubelet::Kubelet;

pub(crate) use orlop_api::typed::k8s_openapi::api::core::v1 as corev1;
