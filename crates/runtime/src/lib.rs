//! Containers on Linux: sandboxes and containers, each pod under one small shim process that
//! outlives this one; logs in CRI format; exec and attach; cgroups and statistics.

mod api;
mod bundle;
mod cgroup;
mod engine;
mod init;
mod plan;
mod protocol;
pub mod shim;
mod spec;
mod sys;
mod wire;

pub use api::*;
pub use engine::{Runtime, RuntimeOptions, ShimCommand, layers_in_use, reset};
