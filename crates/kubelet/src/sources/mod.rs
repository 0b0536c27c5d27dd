//! Where pods come from: the API, and manifests on this node's disk.

pub mod api;
pub mod files;
pub mod mirror;
