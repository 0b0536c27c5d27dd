//! Images: references, registries, layers and snapshots.

mod api;

pub use api::*;
