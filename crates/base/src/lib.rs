//! Ground floor: time, chance, back-off, bounded queues, task ownership, disk space, ports, gRPC. Knows nothing of
//! Kubernetes but the texts everything above reads: quantities, durations, names.
//!
//! Every component takes its clock and its randomness from here, so that the simulation can turn
//! both into functions of one seed.

pub mod backoff;
pub mod clock;
pub mod disk_usage;
pub mod duration;
pub mod error;
pub mod grpc;
pub mod id;
pub mod names;
pub mod port;
pub mod protobuf;
pub mod quantity;
pub mod task;
