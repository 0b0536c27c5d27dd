//! The object store: every object of the cluster, by key, with one revision counter.
//!
//! State lives once in memory as the bytes that go on the wire; the backend's log makes it durable.
//! Writers decide against the newest state, one committer flushes many writes together, readers
//! and watchers see a write once it is durable.

mod api;

pub use api::*;
