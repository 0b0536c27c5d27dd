//! Container statuses (upstream's `convertToAPIContainerStatuses` and `UpdatePodStatus`).

use std::collections::BTreeMap;

use orlop_runtime::ContainerState as Runs;

use super::phase::RESTARTING_ALL;
use super::{StatusInput, container_status, nanos};
use crate::corev1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, LinuxContainerUser, PodStatus, ResourceRequirements, VolumeMountStatus,
};
use crate::names;
use crate::pod::plan::should_restart;
use crate::pod::spec::{NodePod, image, is_sidecar};
use crate::pod::view::Instance;
use crate::probes::Outcome;

/// Reason of a container that vanished from the runtime.
const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// 128 + SIGKILL: upstream's code for an end nobody saw.
const LOST_EXIT_CODE: i32 = 137;

pub fn fill(input: &StatusInput<'_>, status: &mut PodStatus) {
    let pod = input.pod;
    let list = |containers: &[Container], init: bool| -> Option<Vec<ContainerStatus>> {
        let statuses: Vec<ContainerStatus> = containers.iter().map(|c| one(input, c, init)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    status.init_container_statuses = list(pod.init_containers(), true);
    let by_name = |list: Option<Vec<ContainerStatus>>| {
        let mut list = list?;
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Some(list)
    };
    status.container_statuses = by_name(list(pod.main_containers(), false));
    status.ephemeral_container_statuses = by_name(list(pod.ephemeral_containers(), false));
    set_readiness(input, status);
}

/// A finished pod has no container that could still be waiting or running: what nobody saw end is
/// told as a failure.
pub fn settle_missing(input: &StatusInput<'_>, status: &mut PodStatus) {
    if has_initialized(input.pod, status) {
        status.container_statuses.iter_mut().flatten().for_each(settle);
    }
    let init = status.init_container_statuses.as_deref_mut().unwrap_or_default();
    let touched = |c: &ContainerStatus| !is_waiting(c) || last_end(c).is_some();
    let tried = init.iter().rposition(touched).map_or(1, |last| last + 1).min(init.len());
    init[..tried].iter_mut().for_each(settle);
}

fn settle(status: &mut ContainerStatus) {
    if end(status).is_none() {
        let message = "The container could not be located when the pod was terminated";
        status.state = Some(terminated(lost(STATUS_UNKNOWN, message)));
        status.ready = false;
        status.started = Some(false);
    }
}

fn has_initialized(pod: &NodePod, status: &PodStatus) -> bool {
    let Some(last) = pod.init_containers().last() else { return true };
    let mains = status.container_statuses.iter().flatten();
    if mains.into_iter().any(|c| !is_waiting(c) || last_end(c).is_some()) {
        return true;
    }
    let Some(last_status) = container_status(status, &last.name) else { return false };
    if is_sidecar(last) {
        return is_running(last_status) && last_status.started == Some(true);
    }
    [end(last_status), last_end(last_status)].into_iter().flatten().any(|end| end.exit_code == 0)
}

fn one(input: &StatusInput<'_>, container: &Container, init: bool) -> ContainerStatus {
    let previous = container_status(input.previous, &container.name);
    let mut instances = input.view.containers.iter().filter(|i| i.name() == container.name);
    let mut status = match instances.next() {
        Some(newest) => {
            let mut status = seen(input, container, newest, previous);
            if let Some(before) = instances.next() {
                status.last_state = Some(state_of(before));
            }
            status
        }
        None => unseen(input, container, previous),
    };
    status.volume_mounts = volume_mounts(container);
    explain_waiting(input, container, init, &mut status);
    status
}

/// From an instance the runtime has.
fn seen(
    input: &StatusInput<'_>,
    container: &Container,
    instance: &Instance,
    previous: Option<&ContainerStatus>,
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: instance.runtime.image.clone(),
        image_id: instance.runtime.image_id.clone(),
        container_id: Some(names::container_id(instance.id())),
        restart_count: instance.restart_count(),
        state: Some(state_of(instance)),
        resources: Some(in_effect(input, container, instance)),
        allocated_resources: container.resources.as_ref().and_then(|r| r.requests.clone()),
        user: user(instance),
        ..ContainerStatus::default()
    };
    if let Some(old) = previous {
        status.restart_count = status.restart_count.max(old.restart_count);
        // Starting all over removes what had ended, so its end is carried on from here.
        let carried = if old.container_id == status.container_id { None } else { end(old) };
        if let Some(end) = carried.or_else(|| last_end(old)) {
            status.last_state = Some(terminated(end.clone()));
        }
        if is_running(&status) && end(old).is_some() && old.restart_count >= instance.restart_count() {
            let same = old.container_id == status.container_id;
            status.restart_count = old.restart_count + i32::from(!same);
        }
        if instance.state() == Runs::Unknown && is_running(old) {
            let reason = if input.memory.restarting_all { RESTARTING_ALL } else { STATUS_UNKNOWN };
            let message = "The container could not be located when the pod was terminated";
            status.state = Some(terminated(lost(reason, message)));
            status.restart_count = old.restart_count + 1;
        }
    }
    status
}

/// The runtime has no instance: it was not made yet, or it is gone.
fn unseen(input: &StatusInput<'_>, container: &Container, previous: Option<&ContainerStatus>) -> ContainerStatus {
    let reason = if input.pod.init_containers().is_empty() { "ContainerCreating" } else { "PodInitializing" };
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: image(container).to_owned(),
        state: Some(waiting(reason, "")),
        ..ContainerStatus::default()
    };
    let Some(old) = previous else { return status };
    if input.memory.restarting_all && !is_waiting(old) {
        let message = "The container is removed because RestartAllContainers in place";
        status.state = Some(waiting(RESTARTING_ALL, message));
        status.last_state = Some(terminated(lost(RESTARTING_ALL, message)));
        status.restart_count = old.restart_count + 1;
        return status;
    }
    if end(old).is_some() {
        return old.clone();
    }
    status.restart_count = old.restart_count;
    status.last_state.clone_from(&old.last_state);
    if is_running(old) && last_end(old).is_none() {
        let message = "The container could not be located when the pod was deleted.  The container used to be Running";
        status.last_state = Some(terminated(lost(STATUS_UNKNOWN, message)));
        status.restart_count += i32::from(!input.pod.is_deleted());
    }
    status
}

/// A container that should start and does not says why.
fn explain_waiting(input: &StatusInput<'_>, container: &Container, init: bool, status: &mut ContainerStatus) {
    let latest = input.view.latest(&container.name);
    if init {
        if latest.is_some_and(|i| i.has_exited() && i.exit_code() == 0) && !is_sidecar(container) {
            return;
        }
        if latest.is_none() && !is_sidecar(container) && input.view.any_main_created(input.pod) && is_waiting(status) {
            let message = "Unable to get init container status from container runtime and pod has been initialized, \
                           treat it as exited normally";
            let end = ContainerStateTerminated {
                reason: Some("Completed".to_owned()),
                message: Some(message.to_owned()),
                ..ContainerStateTerminated::default()
            };
            status.state = Some(terminated(end));
            return;
        }
    }
    let restarts = !input.pod.is_deleted() && latest.is_none_or(|i| should_restart(input.pod, container, i));
    let Some(failure) = input.memory.failures.get(&container.name).filter(|_| restarts) else { return };
    if end(status).is_some() {
        status.last_state = status.state.take();
    }
    status.state = Some(waiting(&failure.reason, &failure.message));
}

/// `started` and `ready` from the probes' results.
fn set_readiness(input: &StatusInput<'_>, status: &mut PodStatus) {
    let pod_was_ready =
        input.pod.api_status().conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let specs: BTreeMap<&str, &Container> = input.pod.containers().map(|(_, c)| (c.name.as_str(), c)).collect();
    let lists = [(true, &mut status.init_container_statuses), (false, &mut status.container_statuses)];
    for (init, list) in lists {
        for status in list.iter_mut().flatten() {
            let Some(container) = specs.get(status.name.as_str()) else { continue };
            let started = is_started(input, container, status);
            status.started = Some(started);
            status.ready = if init && !is_sidecar(container) {
                end(status).is_some_and(|end| end.exit_code == 0)
            } else {
                started && is_ready(input, container, status, pod_was_ready)
            };
        }
    }
}

fn is_started(input: &StatusInput<'_>, container: &Container, status: &ContainerStatus) -> bool {
    if !is_running(status) {
        return false;
    }
    let Some(id) = status.container_id.as_deref().map(names::bare_id) else { return false };
    if container.startup_probe.is_none() {
        return true;
    }
    match input.probes.startup(id) {
        Some(outcome) => outcome == Outcome::Success,
        // Not asked since the agent started: what was said before holds.
        None => said_before(input, status).is_some_and(|old| old.started == Some(true)),
    }
}

fn is_ready(input: &StatusInput<'_>, container: &Container, status: &ContainerStatus, pod_was_ready: bool) -> bool {
    if container.readiness_probe.is_none() {
        return true;
    }
    let Some(id) = status.container_id.as_deref().map(names::bare_id) else { return false };
    match input.probes.readiness(id) {
        Some(outcome) => outcome == Outcome::Success,
        // A container that ran before this agent did keeps its readiness until it is asked.
        None => {
            let started = input.view.by_id(id).map_or(i64::MAX, |i| i.runtime.started_unix_nanos);
            started < input.agent_started_nanos && pod_was_ready
        }
    }
}

/// What was said before of this very instance.
fn said_before<'a>(input: &'a StatusInput<'_>, status: &ContainerStatus) -> Option<&'a ContainerStatus> {
    container_status(input.previous, &status.name).filter(|old| old.container_id == status.container_id)
}

fn state_of(instance: &Instance) -> ContainerState {
    let runtime = &instance.runtime;
    match instance.state() {
        Runs::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(nanos(runtime.started_unix_nanos)) }),
            ..ContainerState::default()
        },
        Runs::Exited => terminated(ContainerStateTerminated {
            container_id: Some(names::container_id(instance.id())),
            exit_code: runtime.exit_code,
            signal: None,
            reason: text(&runtime.reason),
            message: text(&instance.message),
            started_at: Some(nanos(runtime.started_unix_nanos)),
            finished_at: Some(nanos(runtime.finished_unix_nanos)),
        }),
        Runs::Created | Runs::Unknown => {
            ContainerState { waiting: Some(ContainerStateWaiting::default()), ..ContainerState::default() }
        }
    }
}

/// What the cgroup holds of a running container; of another, what it would get.
fn in_effect(input: &StatusInput<'_>, container: &Container, instance: &Instance) -> ResourceRequirements {
    let running = Some(instance).filter(|i| i.is_running());
    let held = running.and_then(|i| input.memory.resize.of(i));
    held.unwrap_or_else(|| container.resources.clone().unwrap_or_default())
}

fn user(instance: &Instance) -> Option<ContainerUser> {
    let user = names::user(&instance.runtime.annotations)?;
    let groups = (!user.groups.is_empty()).then(|| user.groups.iter().map(|g| i64::from(*g)).collect());
    let linux = LinuxContainerUser { uid: user.uid.into(), gid: user.gid.into(), supplemental_groups: groups };
    Some(ContainerUser { linux: Some(linux) })
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = mounts.iter().map(|mount| {
        let read_only = mount.read_only == Some(true);
        let recursive = matches!(mount.recursive_read_only.as_deref(), Some("IfPossible" | "Enabled"));
        let mode = if recursive { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| mode.to_owned()),
            ..VolumeMountStatus::default()
        }
    });
    Some(status.collect())
}

pub(super) fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

pub(super) fn end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.last_state.as_ref()?.terminated.as_ref()
}

fn is_waiting(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_none_or(|s| s.waiting.is_some())
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: text(reason), message: text(message) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(end: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(end), ..ContainerState::default() }
}

fn lost(reason: &str, message: &str) -> ContainerStateTerminated {
    ContainerStateTerminated {
        reason: text(reason),
        message: text(message),
        exit_code: LOST_EXIT_CODE,
        ..ContainerStateTerminated::default()
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
