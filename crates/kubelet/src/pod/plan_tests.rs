//! Plans as data: a spec, a view, and the actions that follow.

use orlop_runtime::ContainerState;
use serde_json::{Value, json};

use super::plan::*;
use super::spec::{NodePod, fingerprint};
use super::view::PodView;
use crate::probes::{Outcome, ProbeKind, ProbeResults};
use crate::testing::{instance, pod, sandbox};

const SECOND: i64 = 1_000_000_000;

struct Case {
    pod: NodePod,
    view: PodView,
    stage: Stage,
    memory: Memory,
    probes: ProbeResults,
    busy: Busy,
    now: i64,
}

impl Case {
    fn new(spec: Value) -> Self {
        Self {
            pod: pod(spec),
            view: PodView::default(),
            stage: Stage::Active,
            memory: Memory { prepared: true, ..Memory::default() },
            probes: ProbeResults::default(),
            busy: Busy::default(),
            now: 1000 * SECOND,
        }
    }

    /// Adds the newest instance of a container, in the ready sandbox.
    fn has(mut self, name: &str, state: ContainerState, exit_code: i32) -> Self {
        if self.view.sandboxes.is_empty() {
            self = self.in_sandbox();
        }
        let attempt = self.view.containers.iter().filter(|c| c.name() == name).count();
        let mut new = instance(&self.pod, name, attempt as u32);
        new.runtime.state = state;
        new.runtime.exit_code = exit_code;
        new.runtime.finished_unix_nanos = self.now;
        self.view.containers.insert(0, new);
        self
    }

    fn in_sandbox(mut self) -> Self {
        self.view.sandboxes = vec![sandbox(&self.pod, 0)];
        self.view.ips = vec!["10.0.0.1".parse().unwrap()];
        self
    }

    fn plan(&self) -> PodPlan {
        plan(&PlanInput {
            pod: &self.pod,
            view: &self.view,
            stage: &self.stage,
            memory: &self.memory,
            probes: &self.probes,
            busy: &self.busy,
            grace_seconds: 30,
            forget: false,
            now: self.now,
        })
    }

    /// The actions in short: `start a`, `kill a`, `stop`.
    fn actions(&self) -> Vec<String> {
        self.plan().actions.into_iter().map(short).collect()
    }
}

fn short(action: Action) -> String {
    match action {
        Action::Prepare => "prepare".into(),
        Action::Sandbox { attempt, .. } => format!("sandbox {attempt}"),
        Action::Start { name, .. } => format!("start {name}"),
        Action::BackOff { name, .. } => format!("backoff {name}"),
        Action::Kill(kill) => format!("kill {}", kill.name),
        Action::StopPod { .. } => "stop".into(),
        Action::Remove { id } => format!("remove {id}"),
        Action::Resize { ids } => format!("resize {}", ids.join(" ")),
        Action::Release => "release".into(),
        Action::Purge => "purge".into(),
    }
}

use ContainerState::{Exited, Running};

#[test]
fn a_new_pod_goes_step_by_step() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    case.memory.prepared = false;
    assert_eq!(case.actions(), ["prepare"]);
    case.memory.prepared = true;
    assert_eq!(case.actions(), ["sandbox 0"]);
    case.busy.lane = Some(Lane::Sandbox);
    assert!(case.actions().is_empty());
    case.busy.lane = None;
    let case = case.in_sandbox();
    assert_eq!(case.actions(), ["start a"]);
    let case = case.has("a", Running, 0);
    assert_eq!(case.actions(), ["start b"]);
    assert!(case.has("b", Running, 0).actions().is_empty());
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let case = Case::new(json!({
        "initContainers": [{"name": "i1"}, {"name": "s", "restartPolicy": "Always", "startupProbe": {}}, {"name": "i2"}],
        "containers": [{"name": "a"}],
    }));
    let case = case.in_sandbox();
    assert_eq!(case.actions(), ["start i1"]);
    let case = case.has("i1", Running, 0);
    assert!(case.actions().is_empty());
    let mut case = case;
    case.view.containers[0].runtime.state = Exited;
    assert_eq!(case.actions(), ["start s"]);
    let mut case = case.has("s", Running, 0);
    assert!(case.actions().is_empty(), "the startup probe has not succeeded");
    let id = case.view.containers[0].id().to_owned();
    case.probes.set(ProbeKind::Startup, &id, Outcome::Success);
    assert_eq!(case.actions(), ["start i2"]);
    let case = case.has("i2", Exited, 0);
    assert_eq!(case.actions(), ["start a"]);
    let mut case = case.has("a", Running, 0);
    assert!(case.actions().is_empty());
    // A sidecar that ends is started again, without touching the rest.
    let sidecar = case.view.containers.iter_mut().find(|c| c.name() == "s").unwrap();
    sidecar.runtime.state = Exited;
    assert_eq!(case.actions(), ["start s"]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    assert_eq!(Case::new(spec("Never")).has("i", Exited, 1).actions(), ["stop"]);
    assert_eq!(Case::new(spec("Always")).has("i", Exited, 1).actions(), ["start i"]);
}

#[test]
fn a_crash_waits_out_its_backoff() {
    let mut case = Case::new(json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}));
    case = case.has("a", Exited, 1);
    assert_eq!(case.actions(), ["start a"], "the first restart is at once");
    let now = case.now;
    case.memory.backoff.next(&backoff_key("a", "x"), now, now, super::backoff::CRASH_LOOP);
    let plan = case.plan();
    let Action::BackOff { message, until_nanos, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(message, "back-off 10s restarting failed container=a pod=p_default(u1)");
    assert_eq!((*until_nanos, plan.wake_nanos), (now + 10 * SECOND, Some(now + 10 * SECOND)));
    assert_eq!(short(plan.actions[1].clone()), "start b", "others do not wait");
    case.now += 10 * SECOND;
    assert_eq!(case.actions(), ["start a"]);
}

#[test]
fn probes_kill_and_restart() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]})).has("a", Running, 0);
    let id = case.view.containers[0].id().to_owned();
    case.probes.set(ProbeKind::Liveness, &id, Outcome::Failure);
    let plan = case.plan();
    let Action::Kill(kill) = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(kill.message, "Container a failed liveness probe, will be restarted");
    case.busy.kills.insert(id.clone());
    assert!(case.actions().is_empty());
}

#[test]
fn a_kill_of_our_own_waits_only_when_it_follows_another_end_too_soon() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}));
    let mut restarts = Vec::new();
    for ran_seconds in [2, 2, 2, 60] {
        case.now += ran_seconds * SECOND;
        case = case.has("a", Exited, 137);
        case.memory.killed.insert(case.view.containers[0].id().to_owned());
        let ended = case.now;
        if let Some(until) = case.plan().wake_nanos {
            case.now = until;
        }
        let Some(Action::Start { crashed_nanos, .. }) = case.plan().actions.pop() else { panic!("no start") };
        restarts.push((case.now - ended) / SECOND);
        if let Some(crashed) = crashed_nanos {
            case.memory.backoff.next(&backoff_key("a", ""), crashed, case.now, super::backoff::CRASH_LOOP);
        }
    }
    assert_eq!(restarts, [0, 0, 10, 0]);
}

#[test]
fn done_pods_are_stopped_and_dead_sandboxes_replaced() {
    let once = json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}]});
    assert_eq!(Case::new(once.clone()).has("a", Exited, 0).actions(), ["stop"]);
    assert_eq!(Case::new(once.clone()).has("a", Exited, 1).actions(), ["start a"]);
    let mut case = Case::new(once).has("a", Exited, 0);
    case.view.sandboxes[0].ready = false;
    assert!(case.actions().is_empty(), "all is done: no other sandbox");
    let mut case = Case::new(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}))
        .has("i", Exited, 0)
        .has("a", Running, 0);
    case.view.sandboxes[0].ready = false;
    assert_eq!(case.actions(), ["stop"]);
    case.view.containers.iter_mut().for_each(|c| c.runtime.state = Exited);
    assert_eq!(case.actions(), ["remove i-0"]);
    case.view.containers.retain(|c| c.name() != "i");
    assert_eq!(case.actions(), ["sandbox 1"]);
}

#[test]
fn a_changed_image_replaces_the_container() {
    let mut case = Case::new(json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "new"}]}));
    case = case.has("a", Running, 0);
    case.view.containers[0].fingerprint =
        fingerprint(&crate::corev1::Container { name: "a".into(), ..Default::default() });
    let plan = case.plan();
    let Action::Kill(kill) = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(kill.message, "Container a definition changed, will be restarted");
}

#[test]
fn ephemeral_containers_start_once() {
    let case = Case::new(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}]}));
    let case = case.has("a", Running, 0);
    assert_eq!(case.actions(), ["start e"]);
    assert!(case.has("e", Exited, 1).actions().is_empty());
}

#[test]
fn a_shorter_grace_overtakes_a_stop_under_way() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]})).has("a", Running, 0);
    case.stage = Stage::Terminating;
    assert_eq!(case.actions(), ["stop"]);
    case.busy.stop = Some(30);
    assert!(case.actions().is_empty());
    case.busy.stop = Some(600);
    assert_eq!(case.actions(), ["stop"]);
}

#[test]
fn old_instances_are_removed() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]}));
    for _ in 0..3 {
        case = case.has("a", Exited, 1);
    }
    case = case.has("a", Running, 0);
    assert_eq!(case.actions(), ["remove a-1", "remove a-0"]);
}

#[test]
fn starting_all_over_removes_the_trigger_last() {
    let rules = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [9]}}]);
    let spec =
        json!({"containers": [{"name": "a", "restartPolicy": "Never", "restartPolicyRules": rules}, {"name": "b"}]});
    let mut case = Case::new(spec).has("a", Exited, 9).has("b", Running, 0);
    case.memory.restarting_all = true;
    assert_eq!(case.actions(), ["kill b"]);
    case.view.containers[0].runtime.state = Exited;
    assert_eq!(case.actions(), ["remove b-0"]);
    case.view.containers.remove(0);
    assert_eq!(case.actions(), ["remove a-0"]);
}

/// Whatever the view, a plan never asks twice for the same and always ends.
#[test]
fn plans_are_quiet_while_everything_is_under_way() {
    let mut case = Case::new(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    case.busy =
        Busy { lane: Some(Lane::Start("i".into())), stop: Some(0), release: true, purge: true, ..Busy::default() };
    for stage in [Stage::Active, Stage::Terminating, Stage::Terminated, Stage::Finished] {
        case.stage = stage;
        assert!(case.actions().is_empty(), "{:?}", case.stage);
    }
}
