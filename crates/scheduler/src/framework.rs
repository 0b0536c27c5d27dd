//! What a plugin is: a static record of optional functions.

use std::fmt;

use crate::cycle::Cycle;
use crate::node::NodeInfo;

/// Best score of one plugin for one node, before its weight.
pub const MAX_SCORE: i64 = 100;

/// See the module. Functions are pure: equal arguments, equal answers.
pub struct Plugin {
    pub name: &'static str,
    /// Is there any node for the pod at all?
    pub pre_filter: Option<fn(&Cycle) -> Result<(), Rejection>>,
    /// May the pod run there?
    pub filter: Option<fn(&Cycle, &NodeInfo) -> Result<(), Rejection>>,
    pub score: Option<Score>,
    /// Events after which a pod that this plugin rejected may fit.
    pub wakes_on: &'static [Wake],
}

impl Plugin {
    pub const NONE: Self = Self { name: "", pre_filter: None, filter: None, score: None, wakes_on: &[] };
}

/// How good are the nodes for the pod?
pub struct Score {
    pub weight: i64,
    /// 0 to [`MAX_SCORE`] for each of the nodes that are left to choose from.
    pub of: fn(&Cycle, &[&NodeInfo]) -> Vec<i64>,
}

/// Raw scores so that the largest is [`MAX_SCORE`].
pub fn scaled(mut scores: Vec<i64>) -> Vec<i64> {
    let most = scores.iter().max().copied().unwrap_or(0);
    if most != 0 {
        scores.iter_mut().for_each(|score| *score = MAX_SCORE * *score / most);
    }
    scores
}

/// Raw scores, of which less is better, so that nothing is [`MAX_SCORE`].
pub fn reversed(mut scores: Vec<i64>) -> Vec<i64> {
    let most = scores.iter().max().copied().unwrap_or(0);
    let turn = |score: i64| if most == 0 { MAX_SCORE } else { MAX_SCORE - MAX_SCORE * score / most };
    scores.iter_mut().for_each(|score| *score = turn(*score));
    scores
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
    ExistingAntiAffinity,
    PodAffinity,
    PodAntiAffinity,
    Spread,
    SpreadLabelMissing,
    ClaimNotFound(String),
    ClaimTerminating(String),
    ClaimLost { claim: String, volume: String },
    ClaimOfAnother(String),
    UnboundClaims,
    VolumeMissing,
    VolumeNodeAffinity,
    NoVolumeToBind,
    VolumeZone,
    DiskConflict,
    ReadWriteOncePod,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NodeName => "node(s) didn't match the requested node name",
            Self::Unschedulable => "node(s) were unschedulable",
            Self::UntoleratedTaint => "node(s) had untolerated taint(s)",
            Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::HostPorts => "node(s) didn't have free ports for the requested pod ports",
            Self::TooManyPods => "Too many pods",
            Self::Insufficient(resource) => return write!(f, "Insufficient {resource}"),
            Self::ExistingAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
            Self::PodAffinity => "node(s) didn't match pod affinity rules",
            Self::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::Spread => "node(s) didn't match pod topology spread constraints",
            Self::SpreadLabelMissing => "node(s) didn't match pod topology spread constraints (missing required label)",
            Self::ClaimNotFound(claim) => return write!(f, "persistentvolumeclaim {claim:?} not found"),
            Self::ClaimTerminating(claim) => return write!(f, "persistentvolumeclaim {claim:?} is being deleted"),
            Self::ClaimLost { claim, volume } => {
                let what = "bound to non-existent persistentvolume";
                return write!(f, "persistentvolumeclaim {claim:?} {what} {volume:?}");
            }
            Self::ClaimOfAnother(claim) => {
                return write!(f, "persistentvolumeclaim {claim:?} was not created for the pod");
            }
            Self::UnboundClaims => "pod has unbound immediate PersistentVolumeClaims",
            Self::VolumeMissing => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            Self::VolumeNodeAffinity => "node(s) didn't match PersistentVolume's node affinity",
            Self::NoVolumeToBind => "node(s) didn't find available persistent volumes to bind",
            Self::VolumeZone => "node(s) had no available volume zone",
            Self::DiskConflict => "node(s) had no available disk",
            Self::ReadWriteOncePod => {
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
            }
        };
        f.write_str(text)
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
    /// A pod came to a node, or its labels changed.
    PodAdded,
    /// A claim, a volume or a storage class came or changed.
    StorageChanged,
}
