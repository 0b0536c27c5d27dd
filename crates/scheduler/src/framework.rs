//! What a plugin is: a static record of optional functions.

use std::fmt;

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// Best score of one plugin for one node, before its weight.
pub const MAX_SCORE: i64 = 100;

/// See the module. Functions are pure: equal arguments, equal answers.
pub struct Plugin {
    pub name: &'static str,
    /// May the pod run there?
    pub filter: Option<fn(&PodInfo, &NodeInfo) -> Result<(), Rejection>>,
    pub score: Option<Score>,
    /// Events after which a pod that this plugin rejected may fit.
    pub wakes_on: &'static [Wake],
}

impl Plugin {
    pub const NONE: Self = Self { name: "", filter: None, score: None, wakes_on: &[] };
}

/// How good is the node for the pod?
pub struct Score {
    pub weight: i64,
    pub of: fn(&PodInfo, &NodeInfo, &Snapshot) -> i64,
    pub normalize: Normalize,
}

/// How raw scores of all candidates become 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// They are already.
    None,
    /// The largest becomes 100.
    Scale,
    /// The largest becomes 0.
    Reverse,
}

/// Why a node is no choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reasons: Vec<Reason>,
    /// Removing other pods could change it.
    pub is_resolvable: bool,
}

impl Rejection {
    /// Nothing that happens to other pods helps.
    pub fn final_(reason: Reason) -> Self {
        Self { reasons: vec![reason], is_resolvable: false }
    }

    pub fn resolvable(reason: Reason) -> Self {
        Self { reasons: vec![reason], is_resolvable: true }
    }
}

/// One reason, printed in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    NodeName,
    Unschedulable,
    UntoleratedTaint,
    NodeAffinity,
    HostPorts,
    TooManyPods,
    Insufficient(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeName => f.write_str("node(s) didn't match the requested node name"),
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::UntoleratedTaint => f.write_str("node(s) had untolerated taint(s)"),
            Self::NodeAffinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::HostPorts => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
        }
    }
}

/// A kind of change in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wake {
    NodeAdded,
    NodeAllocatableChanged,
    NodeLabelsChanged,
    NodeTaintsChanged,
    /// A pod left a node, or needs less of it.
    PodRemoved,
}
