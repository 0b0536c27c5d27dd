//! What a run can be found guilty of.

use orlop_store::{Key, Revision};

/// A promise that was not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Violation {
    #[error("opening the store after a crash: {0}")]
    Open(String),
    #[error("the cluster could not be built: {0}")]
    Setup(String),
    /// A revision was skipped or told twice.
    #[error("watching: revision {got} came after {after}")]
    Gap { after: Revision, got: Revision },
    #[error("watching ended: {0}")]
    Watch(String),
    /// The store differs from what its own events add up to.
    #[error("after {when} the store's {key:?} is not what its events say")]
    Diverged { when: &'static str, key: Key },
    #[error("acknowledged {write} at revision {revision} is not in the log")]
    Lost { write: String, revision: Revision },
    #[error("{owner}: {count} pods at revision {revision}, at most {allowed} allowed")]
    Surge { owner: String, count: i64, allowed: i64, revision: Revision },
    #[error("{ip} is the ClusterIP of both {one} and {other}")]
    SharedIp { ip: String, one: String, other: String },
    #[error("a client's watch of {resource}: {what}")]
    Follower { resource: &'static str, what: String },
    #[error("not settled {seconds} s after the faults stopped: {}", .left.join("; "))]
    Unsettled { seconds: u64, left: Vec<String> },
    #[error("still written when nothing was left to do: {}", .0.join("; "))]
    Restless(Vec<String>),
}
