//! What the API is told of a pod: `generate(what is, what was said before) -> PodStatus`, pure.
//!
//! Follows upstream's `generateAPIPodStatus` and the merge rules of its status manager.

pub mod conditions;
pub mod containers;
pub mod patch;
pub mod phase;
pub mod pod_resources;

use std::net::IpAddr;

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::corev1::{ContainerStatus, HostIP, PodIP, PodStatus};
use crate::pod::plan::{Memory, Stage};
use crate::pod::spec::NodePod;
use crate::pod::view::PodView;
use crate::probes::ProbeResults;
use crate::resources::qos::qos_class;
use phase::Phase;

/// Everything a status depends on.
pub struct StatusInput<'a> {
    pub pod: &'a NodePod,
    pub view: &'a PodView,
    pub memory: &'a Memory,
    pub probes: &'a ProbeResults,
    pub stage: &'a Stage,
    /// The status said last: this node's own, or the API's after a restart.
    pub previous: &'a PodStatus,
    /// Why the node ended the pod, if it did.
    pub verdict: Option<&'a Verdict>,
    pub host_ips: &'a [IpAddr],
    /// When this node agent started; containers older than that keep the readiness they had.
    pub agent_started_nanos: i64,
    pub now: Timestamp,
}

/// The node's own reason to end a pod: eviction, deadline, rejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub reason: String,
    pub message: String,
    /// Reason of the `DisruptionTarget` condition, when the pod is a victim.
    pub disruption: Option<String>,
}

impl StatusInput<'_> {
    /// Nothing of the pod runs any more, or will.
    pub fn is_terminal(&self) -> bool {
        matches!(self.stage, Stage::Terminated | Stage::Finished)
    }

    /// `metav1.Time` has whole seconds.
    pub fn now_time(&self) -> Time {
        seconds(self.now)
    }
}

/// Have the containers ended for good, whatever is told yet?
pub fn has_ended(input: &StatusInput<'_>) -> bool {
    let mut status = PodStatus::default();
    containers::fill(input, &mut status);
    phase::phase(input, &status).is_terminal()
}

pub fn generate(input: &StatusInput<'_>) -> PodStatus {
    let mut status = PodStatus {
        observed_generation: input.pod.object.metadata.generation,
        qos_class: Some(qos_of(input).to_owned()),
        ..PodStatus::default()
    };
    containers::fill(input, &mut status);
    set_addresses(input, &mut status);
    set_phase(input, &mut status);
    if matches!(input.stage, Stage::Finished) {
        containers::settle_missing(input, &mut status);
    }
    status.start_time = input.previous.start_time.clone().or_else(|| Some(input.now_time()));
    pod_resources::fill(input, &mut status);
    conditions::fill(input, &mut status);
    keep_foreign(input, &mut status);
    truncate_messages(input.pod, &mut status);
    status
}

/// The status of a pod this node will not run.
pub fn rejected(pod: &NodePod, verdict: &Verdict, now: Timestamp) -> PodStatus {
    let api = pod.api_status();
    PodStatus {
        phase: Some(Phase::Failed.as_str().to_owned()),
        reason: Some(verdict.reason.clone()),
        message: Some(format!("Pod was rejected: {}", verdict.message)),
        qos_class: Some(qos_class(pod.spec()).as_str().to_owned()),
        observed_generation: pod.object.metadata.generation,
        start_time: api.start_time.clone().or_else(|| Some(seconds(now))),
        conditions: api.conditions.clone(),
        ..PodStatus::default()
    }
}

fn qos_of<'a>(input: &'a StatusInput<'_>) -> &'a str {
    let api = input.pod.api_status().qos_class.as_deref().filter(|class| !class.is_empty());
    api.unwrap_or_else(|| qos_class(input.pod.spec()).as_str())
}

/// A stopped sandbox has no address any more, but the pod's last word keeps it.
fn set_addresses(input: &StatusInput<'_>, status: &mut PodStatus) {
    let host: Vec<String> = input.host_ips.iter().map(ToString::to_string).collect();
    status.host_ip = host.first().cloned();
    status.host_ips = Some(host.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    let own: Vec<String> = if input.pod.host_network() {
        host
    } else if !input.view.ips.is_empty() {
        input.view.ips.iter().map(ToString::to_string).collect()
    } else if *input.stage == Stage::Active {
        Vec::new()
    } else {
        input.previous.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect()
    };
    status.pod_ip = own.first().cloned();
    status.pod_ips = (!own.is_empty()).then(|| own.into_iter().map(|ip| PodIP { ip }).collect());
}

fn set_phase(input: &StatusInput<'_>, status: &mut PodStatus) {
    let mut phase = phase::phase(input, status);
    let previous = Phase::parse(input.previous.phase.as_deref());
    let api = Phase::parse(input.pod.api_status().phase.as_deref());
    // A pod never comes back from its end.
    for ended in [previous, api].into_iter().flatten().filter(|p| p.is_terminal()) {
        phase = ended;
    }
    if Some(phase) == previous {
        status.reason = input.previous.reason.clone().or_else(|| input.pod.api_status().reason.clone());
        status.message = input.previous.message.clone().or_else(|| input.pod.api_status().message.clone());
    }
    if let Some(verdict) = input.verdict {
        phase = Phase::Failed;
        status.reason = Some(verdict.reason.clone());
        status.message = Some(verdict.message.clone());
    }
    if *input.stage == Stage::Finished && !phase.is_terminal() && !input.pod.is_static() {
        phase = Phase::Failed;
    }
    // The end is told only when nothing runs: resources are free by then. It may have been told by somebody else.
    let told = [previous, api].into_iter().flatten().any(Phase::is_terminal);
    if phase.is_terminal() && !told && could_run(input) {
        phase = previous.unwrap_or(Phase::Pending);
        status.reason.clone_from(&input.previous.reason);
        status.message.clone_from(&input.previous.message);
    }
    status.phase = Some(phase.as_str().to_owned());
}

fn could_run(input: &StatusInput<'_>) -> bool {
    match input.stage {
        Stage::Active | Stage::Terminating => true,
        Stage::Terminated | Stage::Finished => input.view.has_running(),
    }
}

/// Fields that others own go through as the API has them.
fn keep_foreign(input: &StatusInput<'_>, status: &mut PodStatus) {
    let api = input.pod.api_status();
    status.nominated_node_name.clone_from(&api.nominated_node_name);
    status.resource_claim_statuses.clone_from(&api.resource_claim_statuses);
    status.extended_resource_claim_status.clone_from(&api.extended_resource_claim_status);
    status.node_allocatable_resource_claim_statuses.clone_from(&api.node_allocatable_resource_claim_statuses);
    status.volume_health.clone_from(&api.volume_health);
}

/// All termination messages of a pod together: 12 KiB (`MaxPodTerminationMessageLogLength`).
const MAX_MESSAGES_BYTES: usize = 12 << 10;

fn truncate_messages(pod: &NodePod, status: &mut PodStatus) {
    let each = MAX_MESSAGES_BYTES / pod.containers().count().max(1);
    let lists =
        [&mut status.init_container_statuses, &mut status.container_statuses, &mut status.ephemeral_container_statuses];
    for container in lists.into_iter().flatten().flatten() {
        for state in [&mut container.state, &mut container.last_state].into_iter().flatten() {
            if let Some(message) = state.terminated.as_mut().and_then(|t| t.message.as_mut()) {
                truncate(message, each);
            }
        }
    }
}

/// Cuts at a character boundary at or below `max` bytes.
fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
    }
}

pub(crate) fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
}

pub(crate) fn nanos(nanos: i64) -> Time {
    seconds(Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The status of a container by name, whichever list it is in.
pub(crate) fn container_status<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|c| c.name == name)
}
