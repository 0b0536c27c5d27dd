//! Informer caches: what the API holds of one resource, in memory, kept current by one watch.
//!
//! - [`Cache`]: one resource. Reads are lock-free snapshots; changes reach observers in order.
//! - [`Factory`]: the caches one identity shares, each started on first demand.
//! - [`Snapshot`]: an immutable view; what is read from it is consistent with itself.
//! - [`Delta`]: one change, old and new.
//!
//! A cache is as new as [`Cache::revision`] says: it has seen every change up to there.
//! `managedFields` are dropped on the way in; writing an object without them keeps the server's.

mod factory;
mod item;
mod reflector;
mod snapshot;
mod store;
mod subscription;

pub use factory::{Factory, Selection};
pub use snapshot::{Index, Snapshot, key_of};
pub use store::{Cache, Delta, Observer};
pub use subscription::Subscription;

#[cfg(test)]
mod tests;
