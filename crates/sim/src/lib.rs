//! A cluster in one process, in virtual time, from one seed.
//!
//! The control plane is the real one: store, API server with its authorizer, every controller, the
//! scheduler. Simulated are the disk ([`orlop_store::disk::SimDisk`]) or the etcd cluster
//! ([`orlop_store::SimEtcd`]), the network between components
//! and the API ([`network`]) and the nodes ([`node`]). A [`script`] drawn from the seed works on
//! Deployments and Services while [`chaos`] loses requests and replies, cuts and delays watches, pulls
//! the plug of the control plane and of nodes. Checkers ([`history`], [`surge`], [`follower`],
//! [`settle`]) look at every durable event and at where everything ends once the faults stop.
//!
//! Vocabulary: a *seed* gives one *run*; the *plane* is the control plane's process, of which a crash
//! makes a new one on what the disk kept; *calm* is when no faults are injected any more.
//!
//! Invariants: nothing here reads the real clock, a thread-unseeded generator or the order of a hash
//! map, so the same seed gives the same history, down to the bytes.

pub mod run;
pub mod violation;

pub mod chaos;
pub mod script;

pub mod network;
pub mod node;
pub mod plane;

pub mod follower;
pub mod history;
pub mod settle;
pub mod surge;

pub use plane::Backend;
pub use run::{Report, run};
pub use violation::Violation;
