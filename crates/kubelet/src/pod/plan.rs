//! `plan(what should be, what is, now) -> what to do`: synchronous, total, free of I/O.
//!
//! A plan is made anew after every event. It never asks for what is already under way ([`Busy`]),
//! and starts at most one thing at a time per pod, in the order of the spec, as upstream's
//! `SyncPod` does; kills run beside it.

use std::collections::{BTreeMap, BTreeSet};

use orlop_api::duration;
use orlop_runtime::ContainerState;

use super::backoff::{BackoffTable, CRASH_LOOP};
use super::init::init_actions;
use super::kill::KillReason;
use super::resize::{ResizeState, due};
use super::spec::{NodePod, RULE_RESTART_ALL, RestartPolicy, Role, fingerprint, image, matching_rule};
use super::view::{Instance, PodView, SandboxNeed};
use crate::probes::{Outcome, ProbeResults};

/// Where a pod is in its life on this node; it only moves forward.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stage {
    /// Containers should run.
    #[default]
    Active,
    /// Containers are being stopped.
    Terminating,
    /// Nothing runs; volumes and cgroups are being given back.
    Terminated,
    /// All resources are free; what is left is the record of the containers.
    Finished,
}

/// Everything a plan depends on.
pub struct PlanInput<'a> {
    pub pod: &'a NodePod,
    pub view: &'a PodView,
    pub stage: &'a Stage,
    pub memory: &'a Memory,
    pub probes: &'a ProbeResults,
    pub busy: &'a Busy,
    /// Grace period for stopping the pod, in seconds.
    pub grace_seconds: i64,
    /// The API object is gone or asks to go: leave nothing behind.
    pub forget: bool,
    pub now: i64,
}

/// What the node remembers of a pod between plans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Directories, cgroup and volumes are in place.
    pub prepared: bool,
    /// Volumes and cgroup have been given back.
    pub released: bool,
    /// Containers, sandboxes and directories are gone.
    pub purged: bool,
    /// When preparing or making the sandbox may be tried again.
    pub setup_retry_nanos: i64,
    /// How often that has failed in a row.
    pub setup_failures: u32,
    /// Why containers do not start, by name.
    pub failures: BTreeMap<String, StartFailure>,
    pub backoff: BackoffTable,
    /// Instances this node killed in order to start them again: their end alone is no crash.
    pub killed: BTreeSet<String>,
    /// All containers are being started over (KEP-5532).
    pub restarting_all: bool,
    pub resize: ResizeState,
}

/// A `waiting` state with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct StartFailure {
    pub reason: String,
    pub message: String,
    /// Not to be tried before.
    pub retry_nanos: i64,
}

/// Work under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busy {
    /// The one thing being set up or started.
    pub lane: Option<Lane>,
    /// Ids of containers being killed.
    pub kills: BTreeSet<String>,
    /// Ids of dead containers being removed.
    pub removals: BTreeSet<String>,
    /// The pod is being stopped, with this grace period.
    pub stop: Option<i64>,
    pub release: bool,
    pub purge: bool,
    pub resize: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    Prepare,
    Sandbox,
    Start(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Directories, cgroup, volumes.
    Prepare,
    /// A sandbox with its network; `replaces` an older one.
    Sandbox {
        attempt: u32,
        replaces: bool,
    },
    /// Image, container, start, postStart hook. `retry` continues the back-off of a crash at that time.
    Start {
        name: String,
        role: Role,
        crashed_nanos: Option<i64>,
    },
    /// The container waits out its back-off.
    BackOff {
        name: String,
        message: String,
        until_nanos: i64,
    },
    Kill(Kill),
    /// Every container, then the sandboxes.
    StopPod {
        grace_seconds: i64,
    },
    /// Removes a dead container.
    Remove {
        id: String,
    },
    /// Brings cgroups in line with what is granted.
    Resize {
        ids: Vec<String>,
    },
    Release,
    Purge,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    pub id: String,
    pub name: String,
    pub message: String,
    pub reason: KillReason,
    /// It will be started again.
    pub restart: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodPlan {
    pub actions: Vec<Action>,
    /// Plan again then, if nothing happens before.
    pub wake_nanos: Option<i64>,
}

impl PodPlan {
    fn wake_at(&mut self, nanos: i64) {
        self.wake_nanos = Some(self.wake_nanos.map_or(nanos, |old| old.min(nanos)));
    }
}

/// Instances kept per container: the one in the status and the one in its `lastState`.
const KEEP_INSTANCES: usize = 2;

pub fn plan(input: &PlanInput<'_>) -> PodPlan {
    let mut plan = PodPlan::default();
    match input.stage {
        Stage::Active => active(input, &mut plan),
        Stage::Terminating => stop(input, &mut plan),
        Stage::Terminated => {
            if !input.memory.released && !input.busy.release {
                retry_setup(input, &mut plan, Action::Release);
            }
        }
        Stage::Finished => {
            if input.forget && !input.memory.purged && !input.busy.purge {
                retry_setup(input, &mut plan, Action::Purge);
            }
        }
    }
    plan
}

/// Is nothing of the pod running any more?
pub fn is_stopped(view: &PodView) -> bool {
    !view.has_running() && view.sandboxes.iter().all(|s| !s.ready)
}

fn active(input: &PlanInput<'_>, plan: &mut PodPlan) {
    if input.busy.stop.is_some() {
        return;
    }
    if input.memory.restarting_all {
        return start_over(input, plan);
    }
    prune(input, plan);
    let need = input.view.sandbox_need(input.pod);
    if need == SandboxNeed::None { containers(input, plan) } else { sandbox(input, need, plan) }
}

/// No usable sandbox: stop what is left, then make one, unless the pod is done.
fn sandbox(input: &PlanInput<'_>, need: SandboxNeed, plan: &mut PodPlan) {
    if input.busy.lane.is_some() {
        return;
    }
    if !is_stopped(input.view) {
        return stop(input, plan);
    }
    if !wants_sandbox(input) {
        return;
    }
    if !input.memory.prepared {
        return retry_setup(input, plan, Action::Prepare);
    }
    // Another sandbox starts from the beginning: what initialization did is forgotten.
    let init: Vec<&Instance> = instances_of_init(input).collect();
    if !init.is_empty() {
        plan.actions.extend(removals(input, init.into_iter()));
        return;
    }
    let replaces = need != SandboxNeed::Missing;
    retry_setup(input, plan, Action::Sandbox { attempt: input.view.next_attempt(), replaces });
}

/// A pod whose containers all ended for good needs no sandbox.
fn wants_sandbox(input: &PlanInput<'_>) -> bool {
    let (pod, view) = (input.pod, input.view);
    if pod.restart_policy() == RestartPolicy::Never && view.next_attempt() != 0 && !view.containers.is_empty() {
        return false;
    }
    let done = |name: &str| view.latest(name).is_some_and(|i| i.has_exited() && i.exit_code() == 0);
    let run_once = |c| RestartPolicy::of_container(c).unwrap_or(pod.restart_policy()) == RestartPolicy::OnFailure;
    let all_done = pod.main_containers().iter().all(|c| run_once(c) && done(&c.name));
    !(all_done && view.any_main_created(pod))
}

fn containers(input: &PlanInput<'_>, plan: &mut PodPlan) {
    if !input.memory.prepared && input.busy.lane.is_none() {
        // After a restart of the node agent: volumes are looked after again, containers run on.
        retry_setup(input, plan, Action::Prepare);
    }
    let mut starts = ephemeral_starts(input);
    let init = init_actions(input);
    if init.failed {
        return stop(input, plan);
    }
    let mut kills = init.kills;
    let mut main_starts = Vec::new();
    resize(input, &mut kills, plan);
    if init.initialized {
        let kept = main_containers(input, &mut kills, &mut main_starts);
        if kept == 0 && main_starts.is_empty() && kills.is_empty() && input.busy.kills.is_empty() {
            return stop(input, plan);
        }
    }
    starts.extend(init.starts.into_iter().map(|name| Candidate { role: role_of(input.pod, &name), name }));
    starts.extend(main_starts.into_iter().map(|name| Candidate { role: Role::Main, name }));
    plan.actions.extend(kills.into_iter().filter(|k| !input.busy.kills.contains(&k.id)).map(Action::Kill));
    start_next(input, starts, plan);
}

/// Resizes in place, or by a restart where the container's policy wants one.
fn resize(input: &PlanInput<'_>, kills: &mut Vec<Kill>, plan: &mut PodPlan) {
    if input.busy.resize || input.memory.setup_retry_nanos > input.now {
        return;
    }
    let (restarts, in_place): (Vec<_>, Vec<_>) =
        due(input.pod, input.view, &input.memory.resize).into_iter().partition(|r| r.restart);
    for resize in restarts {
        let message = format!("Container {} resize requires restart", resize.name);
        let (id, name) = (resize.id, resize.name);
        kills.push(Kill { id, name, message, reason: KillReason::Unknown, restart: true });
    }
    let ids: Vec<String> = in_place.into_iter().map(|r| r.id).collect();
    if !ids.is_empty() {
        plan.actions.push(Action::Resize { ids });
    }
}

struct Candidate {
    name: String,
    role: Role,
}

fn role_of(pod: &NodePod, name: &str) -> Role {
    pod.container(name).map_or(Role::Init, |(role, _)| role)
}

/// Ephemeral containers start once, even before initialization is over.
fn ephemeral_starts(input: &PlanInput<'_>) -> Vec<Candidate> {
    let specs = input.pod.ephemeral_containers().iter();
    let new = specs.filter(|c| input.view.latest(&c.name).is_none());
    new.map(|c| Candidate { name: c.name.clone(), role: Role::Ephemeral }).collect()
}

/// Looks at each main container; returns how many stay as they are.
fn main_containers(input: &PlanInput<'_>, kills: &mut Vec<Kill>, starts: &mut Vec<String>) -> usize {
    let pod = input.pod;
    let mut kept = 0;
    for container in pod.main_containers() {
        let Some(instance) = input.view.latest(&container.name) else {
            starts.push(container.name.clone());
            continue;
        };
        if !instance.is_running() {
            if should_restart(pod, container, instance) {
                starts.push(container.name.clone());
            }
            continue;
        }
        let policy = RestartPolicy::of_container(container).unwrap_or(pod.restart_policy());
        let restarts = policy != RestartPolicy::Never;
        let (what, reason, restart) = if instance.fingerprint != fingerprint(container) {
            ("definition changed", KillReason::Unknown, true)
        } else if input.probes.liveness(instance.id()) == Some(Outcome::Failure) {
            ("failed liveness probe", KillReason::LivenessProbe, restarts)
        } else if input.probes.startup(instance.id()) == Some(Outcome::Failure) {
            ("failed startup probe", KillReason::StartupProbe, restarts)
        } else {
            kept += 1;
            continue;
        };
        let tail = if restart { ", will be restarted" } else { "" };
        let message = format!("Container {} {what}{tail}", container.name);
        kills.push(Kill { id: instance.id().to_owned(), name: container.name.clone(), message, reason, restart });
    }
    kept
}

/// Should a container whose newest instance does not run be started (again)?
pub fn should_restart(pod: &NodePod, container: &crate::corev1::Container, instance: &Instance) -> bool {
    match instance.state() {
        ContainerState::Running => false,
        ContainerState::Created | ContainerState::Unknown => true,
        ContainerState::Exited => pod.restarts_after(container, instance.exit_code()),
    }
}

/// Starts the first candidate that may start now; the others follow when it is done.
fn start_next(input: &PlanInput<'_>, candidates: Vec<Candidate>, plan: &mut PodPlan) {
    let free = input.busy.lane.is_none() && input.memory.prepared;
    for candidate in candidates {
        let latest = input.view.latest(&candidate.name);
        if latest.is_some_and(|i| i.is_running() || input.busy.kills.contains(i.id())) {
            continue;
        }
        let Candidate { name, role } = candidate;
        match held_back(input, &name, plan) {
            Held::No { crashed_nanos } => {
                if free {
                    plan.actions.push(Action::Start { name, role, crashed_nanos });
                }
                break;
            }
            // What comes after an init container waits for it; others do not wait for each other.
            Held::Yes if role == Role::Init => break,
            Held::Yes => {}
        }
    }
}

enum Held {
    Yes,
    No { crashed_nanos: Option<i64> },
}

/// Crash-loop back-off first, then the retry time of a failed start.
fn held_back(input: &PlanInput<'_>, name: &str, plan: &mut PodPlan) -> Held {
    let Some((_, container)) = input.pod.container(name) else { return Held::Yes };
    let failure = input.memory.failures.get(name);
    let key = backoff_key(&container.name, image(container));
    let crashed_nanos = last_end(input, name, &key);
    if let Some(since) = crashed_nanos
        && let Some(wait) = input.memory.backoff.waiting(&key, since, input.now, CRASH_LOOP)
    {
        plan.wake_at(wait.until_nanos);
        if failure.is_none_or(|f| f.retry_nanos != wait.until_nanos) {
            let message = format!(
                "back-off {} restarting failed container={} pod={}",
                duration::format(wait.wait_nanos),
                container.name,
                input.pod.described()
            );
            plan.actions.push(Action::BackOff { name: container.name.clone(), message, until_nanos: wait.until_nanos });
        }
        return Held::Yes;
    }
    match failure {
        Some(failure) if failure.retry_nanos > input.now => {
            plan.wake_at(failure.retry_nanos);
            Held::Yes
        }
        _ => Held::No { crashed_nanos },
    }
}

/// Key of a container's crash-loop back-off; another image starts afresh.
pub fn backoff_key(name: &str, image: &str) -> String {
    format!("{name}\0{image}")
}

/// The end that the back-off of a container counts from.
///
/// Upstream's `SyncPod` kills and restarts in one go, by the view from before the kill: a kill of our own
/// is no crash, but one that comes too soon after an earlier end waits like one.
fn last_end(input: &PlanInput<'_>, name: &str, key: &str) -> Option<i64> {
    let mut exited = input.view.containers.iter().filter(|i| i.name() == name && i.has_exited());
    let newest = exited.next()?;
    let end = newest.runtime.finished_unix_nanos;
    if !input.memory.killed.contains(newest.id()) {
        return Some(end);
    }
    let before = exited.next()?.runtime.finished_unix_nanos;
    let too_soon = input.memory.backoff.waiting(key, before, end, CRASH_LOOP).is_some();
    Some(if too_soon { end } else { before })
}

/// Stops everything; a shorter grace period than the one under way is applied at once.
fn stop(input: &PlanInput<'_>, plan: &mut PodPlan) {
    let shorter = input.busy.stop.is_none_or(|running| input.grace_seconds < running);
    if !is_stopped(input.view) && shorter {
        plan.actions.push(Action::StopPod { grace_seconds: input.grace_seconds });
    }
}

fn retry_setup(input: &PlanInput<'_>, plan: &mut PodPlan, action: Action) {
    if input.memory.setup_retry_nanos > input.now {
        plan.wake_at(input.memory.setup_retry_nanos);
    } else {
        plan.actions.push(action);
    }
}

/// Dead instances beyond those a status can show.
fn prune(input: &PlanInput<'_>, plan: &mut PodPlan) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut surplus = Vec::new();
    for instance in &input.view.containers {
        let count = seen.entry(instance.name()).or_default();
        *count += 1;
        if *count > KEEP_INSTANCES && !instance.is_running() {
            surplus.push(instance);
        }
    }
    plan.actions.extend(removals(input, surplus.into_iter()));
}

/// RestartAllContainers: kill and remove every container, those that asked for it last.
fn start_over(input: &PlanInput<'_>, plan: &mut PodPlan) {
    let asked = |instance: &&Instance| {
        let spec = input.pod.container(instance.name()).map(|(_, c)| c);
        let rule = spec.filter(|_| instance.has_exited()).and_then(|c| matching_rule(c, instance.exit_code()));
        rule.is_some_and(|rule| rule.action == RULE_RESTART_ALL)
    };
    let ephemeral = |i: &&Instance| input.pod.ephemeral_containers().iter().any(|c| c.name == i.name());
    let (sources, targets): (Vec<&Instance>, Vec<&Instance>) =
        input.view.containers.iter().filter(|i| !ephemeral(i)).partition(asked);
    let (running, dead): (Vec<&Instance>, Vec<&Instance>) = targets.into_iter().partition(|i| i.is_running());
    for instance in &running {
        if !input.busy.kills.contains(instance.id()) {
            plan.actions.push(Action::Kill(Kill {
                id: instance.id().to_owned(),
                name: instance.name().to_owned(),
                message: "killing".to_owned(),
                reason: KillReason::RestartAllContainers,
                restart: true,
            }));
        }
    }
    let last = if running.is_empty() && dead.is_empty() { sources } else { Vec::new() };
    plan.actions.extend(removals(input, dead.into_iter().chain(last)));
}

fn instances_of_init<'a>(input: &'a PlanInput<'_>) -> impl Iterator<Item = &'a Instance> {
    let init = input.pod.init_containers();
    input.view.containers.iter().filter(move |i| init.iter().any(|c| c.name == i.name()))
}

fn removals<'a>(
    input: &'a PlanInput<'_>,
    instances: impl Iterator<Item = &'a Instance>,
) -> impl Iterator<Item = Action> {
    let new = instances.filter(|i| !input.busy.removals.contains(i.id()));
    new.map(|i| Action::Remove { id: i.id().to_owned() })
}
