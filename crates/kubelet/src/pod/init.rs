//! What init containers and sidecars need now (upstream's `computeInitContainerActions`, KEP-753).

use orlop_runtime::ContainerState;

use super::kill::KillReason;
use super::plan::{Kill, PlanInput};
use super::spec::{RestartPolicy, fingerprint, is_sidecar};
use super::view::Instance;
use crate::corev1::Container;
use crate::probes::Outcome;

/// What to do, and how far initialization is.
#[derive(Debug, Default, PartialEq)]
pub struct InitActions {
    /// Main containers may run.
    pub initialized: bool,
    /// An init container failed for good: the pod is over.
    pub failed: bool,
    /// Names to start, in the order of the spec.
    pub starts: Vec<String>,
    pub kills: Vec<Kill>,
}

/// The last init container seen decides where initialization stands, because earlier ones may have
/// been removed from the runtime; so the list is read from its end.
pub fn init_actions(input: &PlanInput<'_>) -> InitActions {
    let containers = input.pod.init_containers();
    if containers.is_empty() {
        return InitActions { initialized: true, ..InitActions::default() };
    }
    let mut walk = Walk {
        input,
        containers,
        actions: InitActions { initialized: input.view.any_main_active(input.pod), ..InitActions::default() },
        starts: Vec::new(),
        passed: false,
    };
    walk.passed = walk.actions.initialized;
    for index in (0..containers.len()).rev() {
        walk.visit(index);
        if walk.actions.failed {
            return InitActions { failed: true, ..InitActions::default() };
        }
    }
    if !walk.passed {
        walk.starts.push(0);
    }
    walk.starts.sort_unstable();
    walk.starts.dedup();
    walk.actions.starts = walk.starts.iter().map(|i| containers[*i].name.clone()).collect();
    walk.actions
}

struct Walk<'a> {
    input: &'a PlanInput<'a>,
    containers: &'a [Container],
    actions: InitActions,
    starts: Vec<usize>,
    /// A later container has run, so this one has been through.
    passed: bool,
}

impl Walk<'_> {
    fn visit(&mut self, index: usize) {
        let container = &self.containers[index];
        let sidecar = is_sidecar(container);
        let Some(instance) = self.input.view.active(&container.name) else {
            if self.passed && sidecar {
                self.starts.push(index);
            }
            return;
        };
        if self.passed && !sidecar {
            return;
        }
        match instance.state() {
            // Made but not started: the runtime failed half-way.
            ContainerState::Created => self.starts.push(index),
            ContainerState::Running if sidecar => self.running_sidecar(index, instance),
            ContainerState::Running => {}
            ContainerState::Exited if sidecar => self.starts.push(index),
            ContainerState::Exited => self.exited(index, instance),
            ContainerState::Unknown => self.unknown(index, instance),
        }
        self.passed = true;
    }

    fn running_sidecar(&mut self, index: usize, instance: &Instance) {
        let container = &self.containers[index];
        let id = instance.id();
        if container.startup_probe.is_some() {
            match self.input.probes.startup(id) {
                Some(Outcome::Success) => {}
                Some(Outcome::Failure) => {
                    return self.restart(index, instance, "failed startup probe", KillReason::StartupProbe);
                }
                _ => return,
            }
        }
        self.done(index);
        if instance.fingerprint != fingerprint(container) {
            return self.restart(index, instance, "definition changed", KillReason::Unknown);
        }
        if container.liveness_probe.is_some() && self.input.probes.liveness(id) == Some(Outcome::Failure) {
            self.restart(index, instance, "failed liveness probe", KillReason::LivenessProbe);
        }
    }

    fn exited(&mut self, index: usize, instance: &Instance) {
        if !instance.failed() {
            return self.done(index);
        }
        if self.input.pod.restarts_after(&self.containers[index], instance.exit_code()) {
            self.starts.push(index);
        } else {
            self.actions.failed = true;
        }
    }

    fn unknown(&mut self, index: usize, instance: &Instance) {
        let container = &self.containers[index];
        let policy = RestartPolicy::of_container(container).unwrap_or(self.input.pod.restart_policy());
        if !is_sidecar(container) && policy == RestartPolicy::Never {
            self.actions.failed = true;
            return;
        }
        self.kill(
            instance,
            "Init container is in \"unknown\" state, try killing it before restart".to_owned(),
            KillReason::Unknown,
        );
        self.starts.push(index);
    }

    /// This container has done its part: the next one may start.
    fn done(&mut self, index: usize) {
        if index + 1 == self.containers.len() {
            self.actions.initialized = true;
        } else if !self.passed {
            self.starts.push(index + 1);
        }
    }

    fn restart(&mut self, index: usize, instance: &Instance, what: &str, reason: KillReason) {
        let message = format!("Init container {} {what}", instance.name());
        self.kill(instance, message, reason);
        self.starts.push(index);
    }

    fn kill(&mut self, instance: &Instance, message: String, reason: KillReason) {
        let (id, name) = (instance.id().to_owned(), instance.name().to_owned());
        self.actions.kills.push(Kill { id, name, message, reason, restart: true });
    }
}
