//! A pod as the scheduler sees it: everything it asks for, worked out once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use orlop_api::node_selector::Term;
use orlop_api::pods::{is_finished, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{PodSpec, Toleration, Volume};
use orlop_api::typed::kinds::Pod;

use crate::kin::{Families, Kin};
use crate::plugins::volume_restrictions::is_disk;
use crate::resource::{Amounts, pod_request, pod_request_for_scoring};

pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// A port of the node that a pod takes. Ordered, so that a set of them is searched quickly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    pub port: i32,
    pub protocol: String,
    /// `None` is every address of the node.
    pub ip: Option<IpAddr>,
}

/// See the module.
#[derive(Debug)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub uid: String,
    pub priority: i32,
    pub request: Amounts,
    pub request_for_scoring: Amounts,
    pub host_ports: BTreeSet<HostPort>,
    /// Nodes must match one of these, when given.
    pub required_terms: Option<Vec<Term>>,
    pub preferred_terms: Vec<(i32, Term)>,
    /// All pods that other pods cannot tell from this one.
    pub kin: Arc<Kin>,
    /// Volumes that may be a disk which another pod uses.
    pub disks: Vec<Volume>,
    /// Names of the claims that are its volumes, those made for it included.
    pub claims: Vec<String>,
    pub images: Vec<String>,
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>, families: &mut Families) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
        Self {
            uid: pod.uid().to_owned(),
            priority: spec.priority.unwrap_or(0),
            request: pod_request(spec),
            request_for_scoring: pod_request_for_scoring(spec),
            host_ports: host_ports(spec),
            required_terms: required.map(|r| r.node_selector_terms.iter().map(Term::compile).collect()),
            preferred_terms: preferred
                .into_iter()
                .flatten()
                .map(|p| (p.weight, Term::compile(&p.preference)))
                .collect(),
            kin: families.kin_of(&pod),
            disks: spec.volumes.iter().flatten().filter(|volume| is_disk(volume)).cloned().collect(),
            claims: claims(&pod),
            images: containers().filter_map(|c| c.image.as_deref()).map(with_tag).collect(),
            pod: pod.clone(),
        }
    }

    pub fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.spec.as_ref().unwrap_or(&EMPTY)
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.pod.namespace(), self.pod.name())
    }

    /// The claim is one that is made for this pod.
    pub fn is_ephemeral_claim(&self, claim: &str) -> bool {
        let volumes = self.spec().volumes.iter().flatten().filter(|volume| volume.ephemeral.is_some());
        volumes.into_iter().any(|volume| claim == format!("{}-{}", self.pod.name(), volume.name))
    }

    pub fn tolerations(&self) -> &[Toleration] {
        self.spec().tolerations.as_deref().unwrap_or_default()
    }
}

fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claim = |volume: &Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name(), volume.name)),
        (None, None) => None,
    };
    volumes.filter_map(claim).collect()
}

/// Wants a node from us.
pub fn is_ours_to_schedule(pod: &Pod) -> bool {
    let scheduler = pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref()).unwrap_or(DEFAULT_SCHEDULER);
    scheduler == DEFAULT_SCHEDULER
        && node_name(pod).is_none()
        && !is_finished(pod)
        && pod.metadata.deletion_timestamp.is_none()
}

/// Held back by `spec.schedulingGates` (KEP-3521).
pub fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

/// Node statuses list images with their tag.
fn with_tag(image: &str) -> String {
    let has_tag = image.rfind(':') > image.rfind('/');
    if has_tag { image.to_owned() } else { format!("{image}:latest") }
}

fn host_ports(spec: &PodSpec) -> BTreeSet<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let taken = ports.filter(|p| p.host_port.unwrap_or(0) > 0).map(|p| HostPort {
        port: p.host_port.unwrap_or(0),
        protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
        ip: p.host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified()),
    });
    taken.collect()
}
