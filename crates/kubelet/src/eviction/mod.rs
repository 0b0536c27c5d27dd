//! When the node runs short: which pods go.
//!
//! [`manager`] looks and acts; everything it decides by is pure: what is too little ([`threshold`]),
//! what the node is short of ([`judge`]), who goes first ([`rank`]), what is said ([`message`]).

pub mod judge;
pub mod local_storage;
pub mod manager;
pub mod message;
pub mod rank;
pub mod threshold;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::pod::spec::NodePod;

/// What the node is short of, as everybody sees it.
#[derive(Debug, Default)]
pub struct Pressure {
    memory: AtomicBool,
    disk: AtomicBool,
    pids: AtomicBool,
}

impl Pressure {
    pub fn memory(&self) -> bool {
        self.memory.load(Ordering::Acquire)
    }

    pub fn disk(&self) -> bool {
        self.disk.load(Ordering::Acquire)
    }

    pub fn pids(&self) -> bool {
        self.pids.load(Ordering::Acquire)
    }

    /// Returns whether anything changed.
    pub fn set(&self, memory: bool, disk: bool, pids: bool) -> bool {
        let changes = [(&self.memory, memory), (&self.disk, disk), (&self.pids, pids)];
        changes.into_iter().fold(false, |news, (flag, now)| news | (flag.swap(now, Ordering::AcqRel) != now))
    }
}

/// `system-cluster-critical` and above.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Never evicted for want of resources, and let in when others are not.
pub fn is_critical(pod: &NodePod) -> bool {
    pod.is_static()
        || pod.annotation(MIRROR).is_some()
        || pod.spec().priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY)
}
