//! The cells of a pod: what state its containers add up to.

use serde_json::Value;

use crate::kinds::read::{Read, condition};
use crate::meta;
use crate::table::{Now, age, cells, moment, or};

pub fn cells(pod: &Value, now: Now) -> Vec<Value> {
    let state = State::of(pod);
    let ready = format!("{}/{}", state.ready, state.total);
    let ip = pod.list("status.podIPs").first().map_or("", |ip| ip.text("ip"));
    cells![
        meta::name(pod),
        ready,
        state.reason,
        state.restarts.text(now),
        age(pod, now),
        or(ip, "<none>"),
        or(pod.text("spec.nodeName"), "<none>"),
        or(pod.text("status.nominatedNodeName"), "<none>"),
        readiness_gates(pod),
    ]
}

/// What the status column says, and the counts beside it.
struct State {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

/// How often containers were restarted, and when last.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<i64>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += status.int("restartCount");
        self.last = self.last.max(moment(status.at("lastState.terminated.finishedAt")));
    }

    /// `3 (5m ago)`
    fn text(self, now: Now) -> String {
        match (self.count, self.last) {
            (1.., Some(last)) => format!("{} ({} ago)", self.count, now.since(last)),
            (count, _) => count.to_string(),
        }
    }
}

impl State {
    fn of(pod: &Value) -> Self {
        let sidecars = pod.list("spec.initContainers").iter().filter(|container| is_sidecar(container)).count();
        let mut state = Self {
            reason: or(pod.text("status.reason"), pod.text("status.phase")).to_owned(),
            ready: 0,
            total: pod.list("spec.containers").len() + sidecars,
            restarts: Restarts::default(),
        };
        if condition(pod, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated") {
            "SchedulingGated".clone_into(&mut state.reason);
        }
        let (initializing, of_sidecars) = state.add_init_containers(pod);
        let initialized = condition(pod, "Initialized").is_some_and(|c| c["status"] == "True");
        if !initializing || initialized {
            state.restarts = of_sidecars;
            state.add_containers(pod);
        }
        if meta::is_terminating(pod) {
            if pod.text("status.reason") == "NodeLost" {
                "Unknown".clone_into(&mut state.reason);
            } else if !matches!(pod.text("status.phase"), "Failed" | "Succeeded") {
                "Terminating".clone_into(&mut state.reason);
            }
        }
        state
    }

    /// Up to the first init container that is not done. Whether there is one, and the restarts of
    /// sidecars alone.
    fn add_init_containers(&mut self, pod: &Value) -> (bool, Restarts) {
        let mut of_sidecars = Restarts::default();
        let containers = pod.list("spec.initContainers");
        for (i, status) in pod.list("status.initContainerStatuses").iter().enumerate() {
            let sidecar = containers.iter().any(|c| c["name"] == status["name"] && is_sidecar(c));
            self.restarts.add(status);
            if sidecar {
                of_sidecars.add(status);
            }
            let (terminated, waiting) = (status.at("state.terminated"), status.text("state.waiting.reason"));
            if !terminated.is_null() && terminated.int("exitCode") == 0 {
                continue;
            }
            if sidecar && status.flag("started") {
                self.ready += usize::from(status.flag("ready"));
                continue;
            }
            self.reason = if !terminated.is_null() {
                format!("Init:{}", termination(terminated))
            } else if !matches!(waiting, "" | "PodInitializing") {
                format!("Init:{waiting}")
            } else {
                format!("Init:{i}/{}", containers.len())
            };
            return (true, of_sidecars);
        }
        (false, of_sidecars)
    }

    /// The first container with something to say gives the reason.
    fn add_containers(&mut self, pod: &Value) {
        let (mut running, mut failure) = (false, String::new());
        for status in pod.list("status.containerStatuses").iter().rev() {
            self.restarts.add(status);
            let (terminated, waiting) = (status.at("state.terminated"), status.text("state.waiting.reason"));
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if !terminated.is_null() {
                self.reason = termination(terminated);
                if terminated.int("exitCode") != 0 {
                    self.reason.clone_into(&mut failure);
                }
            } else if status.flag("ready") && status.has("state.running") {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            let ready = pod.list("status.conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            match (running, ready, failure.is_empty()) {
                (true, true, _) => "Running".clone_into(&mut self.reason),
                (_, _, false) => self.reason = failure,
                (true, false, true) => "NotReady".clone_into(&mut self.reason),
                (false, _, true) => {}
            }
        }
    }
}

/// `Error`, `Signal:9`, `ExitCode:1`
fn termination(terminated: &Value) -> String {
    match (terminated.text("reason"), terminated.int("signal")) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// `1/2` of the extra conditions a pod's readiness waits for.
fn readiness_gates(pod: &Value) -> String {
    let gates = pod.list("spec.readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = |gate: &&Value| condition(pod, gate.text("conditionType")).is_some_and(|c| c["status"] == "True");
    format!("{}/{}", gates.iter().filter(open).count(), gates.len())
}
