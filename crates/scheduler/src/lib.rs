//! Finds a node for every pod.
//!
//! [`schedule::schedule`] is pure: a pod, the [`snapshot::Snapshot`] of the cluster and the plugins in, a
//! decision out. The [`queue::Queue`] says which pod is next and which event may help a rejected
//! one. [`run::Scheduler`] is the loop that feeds both from the API and carries decisions out.
//!
//! Vocabulary is upstream's: filter, score, assume, bind, nominate, preempt, wake.

pub mod affinity;
pub mod kin;
pub mod node;
pub mod pod;
pub mod resource;
pub mod snapshot;

pub mod cycle;
pub mod framework;
pub mod plugins;

pub mod diagnosis;
pub mod preemption;
pub mod schedule;

pub mod binding;
pub mod queue;
pub mod run;

#[cfg(test)]
mod testing;
