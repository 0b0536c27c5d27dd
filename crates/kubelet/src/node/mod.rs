//! The node itself: what this machine is, its Node object, its lease.

pub mod conditions;
pub mod gauges;
pub mod lease;
pub mod machine;
pub mod object;
pub mod reporter;
mod stalls;
