//! The node agent: registers this machine as a node, runs the pods bound to it, and tells what
//! became of them.
//!
//! A pod is decided by pure functions and carried out by a thin loop: [`pod::plan`] says what to do,
//! [`status`] says what is. Neither reads a clock, a file or a socket. The world beyond is three
//! traits: `ContainerRuntime`, `PodNetwork`, `ImageService`; and the API client.

pub mod config;
mod kubelet;
mod names;

pub mod container;
pub mod env;
pub mod files;
pub mod pod;
pub mod probes;
pub mod resources;
pub mod status;

#[cfg(test)]
mod testing;

pub use config::KubeletConfig;
pub use kubelet::Kubelet;

pub(crate) use orlop_api::typed::k8s_openapi::api::core::v1 as corev1;
