//! What pods ask for and what the kernel is told: quantities, QoS classes, cgroups.

pub mod cgroup;
pub mod oom;
pub mod qos;
pub mod quantity;
pub mod requests;

pub use quantity::{Amount, ResourceList};

pub const CPU: &str = "cpu";
pub const MEMORY: &str = "memory";
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
pub const PODS: &str = "pods";
pub const HUGEPAGES_PREFIX: &str = "hugepages-";
