//! Images: references, registries, layers and snapshots.

mod api;
mod store;
pub mod users;

pub use api::*;
pub use store::{Hosts, ImageStore};
