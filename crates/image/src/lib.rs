//! Images: references, registries, layers and snapshots.
//!
//! An image comes in by [`ImageStore::import`], [`ImageStore::build`] or [`ImageService::pull`]; its blobs
//! land in the content store, its layers are unpacked once each, side by side, and the index names it only
//! when all of that stands. What a container gets is a list of lower directories for overlayfs.

mod api;
mod digest;
mod reference;
mod spec;

mod unpack;

mod store;

mod archive;
mod build;
mod registry;

pub mod users;

pub use api::*;
pub use build::Tree;
pub use digest::Digest;
pub use reference::Reference;
pub use registry::{HostAuth, HostConfig, HostTls, Hosts, Mirror};
pub use store::{ImageStore, LayerGuard};
