//! Where a store keeps its log and how much it may hold.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Transformer;
use crate::disk::Disk;

#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) place: Place,
    pub limits: Limits,
    pub(crate) transformer: Option<Arc<dyn Transformer>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// No log: gone with the process.
    Memory,
    Directory(PathBuf),
    Disk(Arc<dyn Disk>),
}

impl Config {
    /// A durable store in `dir`, which is created when missing.
    pub fn at(dir: impl Into<PathBuf>) -> Config {
        Config { place: Place::Directory(dir.into()), limits: Limits::default(), transformer: None }
    }

    /// A store without a log, for tests.
    pub fn in_memory() -> Config {
        Config { place: Place::Memory, limits: Limits::default(), transformer: None }
    }

    /// A store on a disk of any kind, such as a simulated one.
    pub fn on(disk: Arc<dyn Disk>) -> Config {
        Config { place: Place::Disk(disk), limits: Limits::default(), transformer: None }
    }

    /// Objects are sealed by this on their way to the disk.
    pub fn with_transformer(mut self, transformer: Arc<dyn Transformer>) -> Config {
        self.transformer = Some(transformer);
        self
    }

    pub fn with_limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one object's JSON.
    pub object_bytes: usize,
    /// Bytes of acknowledged but not yet flushed writes before relaxed writers wait like all others.
    pub unflushed_bytes: usize,
    /// How long a relaxed write may wait for company before it is flushed.
    pub relaxed_delay: Duration,
    /// Size of the log's files. Two of them are the constant part of what the log takes on disk; the
    /// rest stays below twice the live data.
    pub segment_bytes: u64,
    pub history: HistoryLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Upstream refuses request bodies over 3 MiB (MaxRequestBodyBytes) and etcd refuses at half of that.
            object_bytes: 3 << 20,
            unflushed_bytes: 8 << 20,
            // About the time of ten flushes: long enough to gather a burst, too short for a person to see.
            relaxed_delay: Duration::from_millis(10),
            segment_bytes: 4 << 20,
            history: HistoryLimits::default(),
        }
    }
}

/// How far back watches and exact reads reach; the tightest bound wins.
#[derive(Clone, Debug)]
pub struct HistoryLimits {
    pub events: usize,
    /// Bytes that only the history keeps alive.
    pub bytes: usize,
    /// Looked at when something is written; an idle store keeps what it has.
    pub age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> HistoryLimits {
        HistoryLimits {
            // Ten minutes of a thousand nodes' Leases.
            events: 1 << 16,
            bytes: 32 << 20,
            // storagebackend.DefaultCompactInterval.
            age: Duration::from_mins(5),
        }
    }
}
