//! Containers on Linux: sandboxes and containers, each pod under one small shim process that
//! outlives this one; logs in CRI format; exec and attach; cgroups and statistics.

mod api;
mod engine;
pub mod shim;

pub use api::*;
pub use engine::{Runtime, RuntimeOptions, ShimCommand, reset};
