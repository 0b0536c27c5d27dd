//! Ground floor: time, chance, back-off, bounded queues, task ownership, disk space. Knows nothing of Kubernetes.
//!
//! Every component takes its clock and its randomness from here, so that the simulation can turn
//! both into functions of one seed.

pub mod backoff;
pub mod clock;
pub mod disk_usage;
pub mod error;
pub mod id;
