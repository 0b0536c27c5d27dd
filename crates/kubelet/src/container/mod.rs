//! From a container's spec and its image to what the runtime is told: all decisions, no I/O.

pub mod args;
pub mod config;
pub mod mounts;
pub mod security;
pub mod signal;
