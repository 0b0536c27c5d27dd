//! The phase of a pod from its containers' states (upstream's `getPhase`).

use super::{StatusInput, container_status};
use crate::corev1::{Container, ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};
use crate::pod::spec::is_sidecar;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Pending" => Some(Self::Pending),
            "Running" => Some(Self::Running),
            "Succeeded" => Some(Self::Succeeded),
            "Failed" => Some(Self::Failed),
            _ => None,
        }
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Reason of containers ended to start all of them over.
pub const RESTARTING_ALL: &str = "RestartingAllContainers";

#[derive(Default)]
struct Count {
    pending_init: usize,
    pending_sidecars: usize,
    failed_init: usize,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

pub fn phase(input: &StatusInput<'_>, status: &PodStatus) -> Phase {
    let count = count(input, status);
    if count.failed_init > 0 {
        return Phase::Failed;
    }
    let initialized = input.view.any_main_active(input.pod);
    if count.pending_init > 0 || (count.pending_sidecars > 0 && !initialized) || count.waiting > 0 {
        return Phase::Pending;
    }
    if count.running > 0 && count.unknown == 0 {
        return Phase::Running;
    }
    if count.running > 0 || count.stopped == 0 || count.unknown > 0 {
        return Phase::Pending;
    }
    let ended = if count.stopped == count.succeeded { Phase::Succeeded } else { Phase::Failed };
    if input.is_terminal() && !input.pod.is_static() || count.stopped == count.stopped_for_good {
        return ended;
    }
    // Some container is about to start again.
    Phase::Running
}

fn count(input: &StatusInput<'_>, status: &PodStatus) -> Count {
    let mut count = Count::default();
    for container in input.pod.init_containers() {
        let state = state_of(status, container);
        if is_sidecar(container) { sidecar(&mut count, state) } else { init(input, &mut count, container, state) }
    }
    for container in input.pod.main_containers() {
        main(input, &mut count, container, state_of(status, container));
    }
    count
}

/// A container's state as the counts need it.
enum Seen<'a> {
    Running {
        started: bool,
    },
    Ended(&'a ContainerStateTerminated),
    /// Waiting after an end.
    WaitingAgain(&'a ContainerStateTerminated),
    Waiting,
    Unknown,
}

fn state_of<'a>(status: &'a PodStatus, container: &Container) -> Seen<'a> {
    let Some(status) = container_status(status, &container.name) else { return Seen::Unknown };
    let ContainerStatus { state, last_state, started, .. } = status;
    match state {
        Some(ContainerState { running: Some(_), .. }) => Seen::Running { started: *started == Some(true) },
        Some(ContainerState { terminated: Some(end), .. }) => Seen::Ended(end),
        Some(ContainerState { waiting: Some(_), .. }) => {
            last_state.as_ref().and_then(|s| s.terminated.as_ref()).map_or(Seen::Waiting, Seen::WaitingAgain)
        }
        _ => Seen::Unknown,
    }
}

fn init(input: &StatusInput<'_>, count: &mut Count, container: &Container, seen: Seen<'_>) {
    match seen {
        Seen::Ended(end) | Seen::WaitingAgain(end) => {
            if end.exit_code != 0 && !restarts(input, container, end) {
                count.failed_init += 1;
            }
        }
        Seen::Running { .. } | Seen::Waiting | Seen::Unknown => count.pending_init += 1,
    }
}

/// An ended sidecar does not count for the phase.
fn sidecar(count: &mut Count, seen: Seen<'_>) {
    match seen {
        Seen::Running { started } => {
            count.pending_sidecars += usize::from(!started);
            count.running += 1;
        }
        Seen::Ended(_) | Seen::WaitingAgain(_) => {}
        Seen::Waiting => {
            count.pending_sidecars += 1;
            count.waiting += 1;
        }
        Seen::Unknown => count.unknown += 1,
    }
}

fn main(input: &StatusInput<'_>, count: &mut Count, container: &Container, seen: Seen<'_>) {
    match seen {
        Seen::Running { .. } => count.running += 1,
        Seen::Ended(end) => {
            count.stopped += 1;
            count.stopped_for_good += usize::from(!restarts(input, container, end));
            count.succeeded += usize::from(end.exit_code == 0);
        }
        Seen::WaitingAgain(end) => {
            count.stopped += 1;
            count.stopped_for_good += usize::from(!restarts(input, container, end));
        }
        Seen::Waiting => count.waiting += 1,
        Seen::Unknown => count.unknown += 1,
    }
}

fn restarts(input: &StatusInput<'_>, container: &Container, end: &ContainerStateTerminated) -> bool {
    input.pod.restarts_after(container, end.exit_code) || end.reason.as_deref() == Some(RESTARTING_ALL)
}
