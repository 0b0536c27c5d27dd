//! What the plugins know while one pod is decided about.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use orlop_api::typed::kinds::{
    Namespace, PersistentVolume, PersistentVolumeClaim, ReplicaSet, ReplicationController, Service, StatefulSet,
    StorageClass,
};
use orlop_client::cache::Snapshot as Objects;

use crate::plugins::inter_pod_affinity::Meetings;
use crate::plugins::pod_topology_spread::Spread;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// Objects besides pods and nodes that bear on where a pod may run.
#[derive(Clone)]
pub struct Listed {
    pub namespaces: Objects<Namespace>,
    pub claims: Objects<PersistentVolumeClaim>,
    pub volumes: Objects<PersistentVolume>,
    pub classes: Objects<StorageClass>,
    pub services: Objects<Service>,
    pub replica_sets: Objects<ReplicaSet>,
    pub replication_controllers: Objects<ReplicationController>,
    pub stateful_sets: Objects<StatefulSet>,
    /// Volumes that were chosen for a claim (`namespace/name`) and do not show it yet.
    pub assumed: BTreeMap<String, String>,
}

impl Default for Listed {
    /// Of a cluster that has none.
    fn default() -> Self {
        Self {
            namespaces: Objects::of([], &[]),
            claims: Objects::of([], &[]),
            volumes: Objects::of([], &[]),
            classes: Objects::of([], &[]),
            services: Objects::of([], &[]),
            replica_sets: Objects::of([], &[]),
            replication_controllers: Objects::of([], &[]),
            stateful_sets: Objects::of([], &[]),
            assumed: BTreeMap::new(),
        }
    }
}

/// One pod, the cluster, and what plugins have worked out about the two so far.
pub struct Cycle<'a> {
    pub pod: &'a PodInfo,
    pub cluster: &'a Snapshot,
    pub listed: &'a Listed,
    pub spread: OnceCell<Spread>,
    pub meetings: OnceCell<Meetings>,
}

impl<'a> Cycle<'a> {
    pub fn new(pod: &'a PodInfo, cluster: &'a Snapshot, listed: &'a Listed) -> Self {
        Self { pod, cluster, listed, spread: OnceCell::new(), meetings: OnceCell::new() }
    }
}
