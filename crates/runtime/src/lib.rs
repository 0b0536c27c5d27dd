//! Containers on Linux: sandboxes and containers from OCI bundles, each under a small shim process
//! that outlives this one; logs in CRI format; exec and attach; cgroups and statistics.

mod api;

pub use api::*;
