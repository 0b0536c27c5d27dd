//! The object store: every object of the cluster, by key, with one revision counter.
//!
//! State lives once in memory as the bytes that go on the wire; the backend's log makes it durable.
//! Writers decide against the newest state, one committer flushes many writes together, readers
//! and watchers see a write once it is durable.
//!
//! Vocabulary: a [`Draft`] becomes an [`Entry`] at a [`Revision`]; the entries alive at one revision
//! are a [`Snapshot`]; the [`Event`]s between two revisions are what a [`Watch`] delivers; how far
//! back both reach is the *history window*.
//!
//! Invariants:
//! * every write gets the next revision, in the order in which writers decided;
//! * whatever a reader can see, a restart brings back;
//! * no revision that anybody was told is given to another write, not even after a crash that lost it;
//! * a snapshot at R followed by a watch after R misses nothing and repeats nothing.

mod api;
mod config;
mod reread;
mod store;
mod transform;

mod backend;
mod decide;
mod draft;
mod state;

mod channel;
mod history;
mod snapshot;
mod view;
mod watch;

mod embedded;
mod etcd;

pub mod contract;
pub mod disk;

pub use api::*;
pub use backend::{Action, Backend, BackendStats, Change, Feed, Loaded, OpenError, Published, Torn};
pub use config::{Config, HistoryLimits, Limits};
pub use etcd::{EtcdConfig, EtcdError, EtcdFaults, SimEtcd};
pub use snapshot::{Range, Snapshot};
pub use state::State;
pub use store::{Stats, Store};
pub use transform::{Kept, Opened, SEALED_PREFIX, Transformer, UNEXPECTED};
pub use watch::{Batch, Watch};
