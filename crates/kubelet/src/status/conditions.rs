//! Pod conditions (upstream's `pkg/kubelet/status/generate.go`).

use super::containers::{end, is_running};
use super::phase::Phase;
use super::{StatusInput, container_status};
use crate::corev1::{ContainerStatus, PodCondition, PodStatus};
use crate::pod::plan::Stage;
use crate::pod::spec::{NodePod, is_sidecar};
use crate::pod::view::SandboxNeed;

pub const SCHEDULED: &str = "PodScheduled";
pub const READY: &str = "Ready";
pub const INITIALIZED: &str = "Initialized";
pub const CONTAINERS_READY: &str = "ContainersReady";
pub const READY_TO_START: &str = "PodReadyToStartContainers";
pub const RESIZE_PENDING: &str = "PodResizePending";
pub const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";
pub const ALL_RESTARTING: &str = "AllContainersRestarting";
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";

const OWN: [&str; 8] = [
    SCHEDULED,
    READY,
    INITIALIZED,
    CONTAINERS_READY,
    READY_TO_START,
    RESIZE_PENDING,
    RESIZE_IN_PROGRESS,
    ALL_RESTARTING,
];

/// Is this condition this node's to write?
pub fn is_own(condition_type: &str) -> bool {
    OWN.contains(&condition_type)
}

/// What a condition says, before it gets its times.
#[derive(Debug, PartialEq)]
struct Says {
    status: bool,
    reason: String,
    message: String,
}

impl Says {
    fn yes() -> Self {
        Self { status: true, reason: String::new(), message: String::new() }
    }

    fn no(reason: &str, message: impl Into<String>) -> Self {
        Self { status: false, reason: reason.to_owned(), message: message.into() }
    }
}

pub fn fill(input: &StatusInput<'_>, status: &mut PodStatus) {
    let phase = Phase::parse(status.phase.as_deref()).unwrap_or(Phase::Pending);
    let foreign = input.pod.api_status().conditions.iter().flatten().filter(|c| !is_own(&c.type_));
    let mut conditions: Vec<PodCondition> = foreign.cloned().collect();
    keep_resize(input, &mut conditions);
    set_disruption(input, phase, &mut conditions);

    let containers_ready = containers_ready(input.pod, status, phase);
    let ready = if containers_ready.status { gates(input.pod, &conditions) } else { again(&containers_ready) };
    let own = [
        (READY_TO_START, ready_to_start(input)),
        (INITIALIZED, initialized(input, status, phase)),
        (READY, ready),
        (CONTAINERS_READY, containers_ready),
        (SCHEDULED, Says::yes()),
    ];
    conditions.extend(own.into_iter().map(|(name, says)| condition(input, name, says)));
    if input.pod.may_restart_all() {
        conditions.push(condition(input, ALL_RESTARTING, all_restarting(input, phase)));
    }
    status.conditions = Some(conditions);
}

/// Resize conditions are set where resizes are decided, and vanish with the pod's end.
fn keep_resize(input: &StatusInput<'_>, conditions: &mut Vec<PodCondition>) {
    if !input.is_terminal() {
        conditions.extend(input.memory.resize.conditions(input));
    }
}

/// Told together with the end, so that watchers never see a victim still running.
fn set_disruption(input: &StatusInput<'_>, phase: Phase, conditions: &mut Vec<PodCondition>) {
    let Some(reason) = input.verdict.and_then(|v| v.disruption.as_ref()) else { return };
    if !phase.is_terminal() || !matches!(input.stage, Stage::Terminated | Stage::Finished) {
        return;
    }
    let message = input.verdict.map(|v| v.message.clone()).unwrap_or_default();
    let says = Says { status: true, reason: reason.clone(), message };
    conditions.retain(|c| c.type_ != DISRUPTION_TARGET);
    conditions.push(condition(input, DISRUPTION_TARGET, says));
}

fn condition(input: &StatusInput<'_>, name: &str, says: Says) -> PodCondition {
    let status = if says.status { "True" } else { "False" };
    let old = input.previous.conditions.iter().flatten().find(|c| c.type_ == name);
    let unchanged = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
    let text = |text: String| (!text.is_empty()).then_some(text);
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: text(says.reason),
        message: text(says.message),
        observed_generation: input.pod.object.metadata.generation,
        last_transition_time: unchanged.or_else(|| Some(input.now_time())),
        last_probe_time: None,
    }
}

fn again(says: &Says) -> Says {
    Says { status: says.status, reason: says.reason.clone(), message: says.message.clone() }
}

fn ready_to_start(input: &StatusInput<'_>) -> Says {
    match input.view.sandbox_need(input.pod) {
        SandboxNeed::None => Says::yes(),
        need => Says::no("PodSandboxNotReady", need.message()),
    }
}

fn containers_ready(pod: &NodePod, status: &PodStatus, phase: Phase) -> Says {
    let sidecars = pod.init_containers().iter().filter(|c| is_sidecar(c));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(pod.main_containers()) {
        match container_status(status, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        Phase::Succeeded if unknown.is_empty() => return Says::no("PodCompleted", ""),
        Phase::Failed => return Says::no("PodFailed", ""),
        _ => {}
    }
    let message = listed(&[("containers with unknown status", &unknown), ("containers with unready status", &unready)]);
    if message.is_empty() { Says::yes() } else { Says::no("ContainersNotReady", message) }
}

fn gates(pod: &NodePod, conditions: &[PodCondition]) -> Says {
    let mut messages = Vec::new();
    for gate in pod.spec().readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match conditions.iter().find(|c| &c.type_ == name) {
            None => messages.push(format!("corresponding condition of pod readiness gate \"{name}\" does not exist.")),
            Some(c) if c.status != "True" => {
                messages.push(format!("the status of pod readiness gate \"{name}\" is not \"True\", but {}", c.status));
            }
            Some(_) => {}
        }
    }
    if messages.is_empty() { Says::yes() } else { Says::no("ReadinessGatesNotReady", messages.join(", ")) }
}

fn initialized(input: &StatusInput<'_>, status: &PodStatus, phase: Phase) -> Says {
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in input.pod.init_containers() {
        let Some(status) = container_status(status, &container.name) else {
            unknown.push(container.name.as_str());
            continue;
        };
        let done = if is_sidecar(container) { status.started == Some(true) } else { status.ready };
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if phase == Phase::Succeeded && unknown.is_empty() {
        return Says { reason: "PodCompleted".to_owned(), ..Says::yes() };
    }
    let has_run = |c: &ContainerStatus| is_running(c) || end(c).is_some();
    if status.container_statuses.iter().flatten().any(has_run) {
        return Says::yes();
    }
    let lists = [("containers with unknown status", &unknown), ("containers with incomplete status", &incomplete)];
    let message = listed(&lists);
    // Once initialized, a pod that starts over in place stays so.
    let before = input.previous.conditions.iter().flatten().any(|c| c.type_ == INITIALIZED && c.status == "True");
    if message.is_empty() || before { Says::yes() } else { Says::no("ContainersNotInitialized", message) }
}

fn all_restarting(input: &StatusInput<'_>, phase: Phase) -> Says {
    match phase {
        Phase::Succeeded => Says::no("PodCompleted", ""),
        Phase::Failed => Says::no("PodFailed", ""),
        _ if input.memory.restarting_all => Says {
            status: true,
            reason: "RestartAllContainersStarted".to_owned(),
            message: "container exited with restart policy rule".to_owned(),
        },
        _ => Says::no("", ""),
    }
}

/// `label: [a b], label: [c]`, as Go prints slices.
fn listed(lists: &[(&str, &Vec<&str>)]) -> String {
    let full = lists.iter().filter(|(_, names)| !names.is_empty());
    full.map(|(label, names)| format!("{label}: [{}]", names.join(" "))).collect::<Vec<_>>().join(", ")
}
