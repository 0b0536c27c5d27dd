//! In-place resize (KEP-1287): what is asked for, what this node granted, what is in effect.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::spec::{NodePod, Role};
use super::view::{Instance, PodView};
use crate::corev1::{Container, Pod, PodCondition, ResourceRequirements};
use crate::names;
use crate::resources::{Amount, CPU, MEMORY};
use crate::status::conditions::{RESIZE_IN_PROGRESS, RESIZE_PENDING};
use crate::status::{StatusInput, seconds};

/// Resources by container name.
pub type Granted = BTreeMap<String, ResourceRequirements>;

/// Where a pod's resize stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResizeState {
    /// What this node granted, where it differs from what the spec asks for.
    pub granted: Granted,
    /// What is in effect in running containers, by container id, where it is not what they were
    /// made with.
    pub in_effect: BTreeMap<String, ResourceRequirements>,
    pub pending: Option<Pending>,
    pub in_progress: Option<InProgress>,
}

/// Asked for and not granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// `Deferred` or `Infeasible`.
    pub reason: &'static str,
    pub message: String,
    pub generation: i64,
    pub since: Timestamp,
}

/// Granted and not yet in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct InProgress {
    /// Of the last try, if it failed.
    pub error: Option<String>,
    pub generation: i64,
    pub since: Timestamp,
}

impl ResizeState {
    pub fn conditions(&self, input: &StatusInput<'_>) -> Vec<PodCondition> {
        let make = |name: &str, since: Timestamp, generation: i64, reason: Option<&str>, message: Option<&String>| {
            PodCondition {
                type_: name.to_owned(),
                status: "True".to_owned(),
                reason: reason.map(str::to_owned),
                message: message.cloned(),
                observed_generation: Some(generation),
                last_transition_time: Some(seconds(since)),
                last_probe_time: Some(input.now_time()),
            }
        };
        let pending = self.pending.as_ref();
        let running = self.in_progress.as_ref();
        let pending = pending.map(|p| make(RESIZE_PENDING, p.since, p.generation, Some(p.reason), Some(&p.message)));
        let running = running.map(|p| {
            let reason = p.error.as_ref().map(|_| "Error");
            make(RESIZE_IN_PROGRESS, p.since, p.generation, reason, p.error.as_ref())
        });
        pending.into_iter().chain(running).collect()
    }

    /// What a running instance is held to.
    pub fn of(&self, instance: &Instance) -> Option<ResourceRequirements> {
        self.in_effect.get(instance.id()).cloned().or_else(|| names::actuated(instance))
    }
}

/// The pod as granted: its containers' CPU and memory replaced where a resize is not granted yet.
pub fn as_granted(pod: &Pod, granted: &Granted) -> Pod {
    let mut pod = pod.clone();
    let Some(spec) = &mut pod.spec else { return pod };
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if let Some(resources) = granted.get(&container.name) {
            container.resources = Some(resources.clone());
        }
    }
    pod
}

/// Resources of every container that can be resized, as the spec has them.
pub fn asked(pod: &Pod) -> Granted {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
    containers.map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect()
}

/// Do both give the same CPU and memory?
pub fn same(a: &ResourceRequirements, b: &ResourceRequirements) -> bool {
    [CPU, MEMORY].iter().all(|name| {
        Amount::of(a.requests.as_ref(), name) == Amount::of(b.requests.as_ref(), name)
            && Amount::of(a.limits.as_ref(), name) == Amount::of(b.limits.as_ref(), name)
    })
}

/// What is recorded beside a pod's volumes.
const RECORD: &str = "resize.json";

/// Reads what was granted before a restart of the agent; empty when nothing was recorded.
pub fn load(pod_dir: &Path) -> ResizeState {
    let read = || -> Option<ResizeState> {
        let record: Value = serde_json::from_slice(&std::fs::read(pod_dir.join(RECORD)).ok()?).ok()?;
        let list = |field: &str| -> Granted {
            let entries = record[field].as_object().into_iter().flatten();
            entries.filter_map(|(k, v)| Some((k.clone(), names::decode_resources(&v.to_string())?))).collect()
        };
        Some(ResizeState { granted: list("granted"), in_effect: list("inEffect"), ..ResizeState::default() })
    };
    read().unwrap_or_default()
}

pub fn save(pod_dir: &Path, state: &ResizeState) -> std::io::Result<()> {
    let list = |granted: &Granted| -> Value {
        let encoded = granted.iter().map(|(k, v)| (k.clone(), names::encode_resources(v)));
        let entries = encoded.map(|(k, text)| (k, serde_json::from_str(&text).unwrap_or_default()));
        Value::Object(entries.collect())
    };
    let record = json!({"granted": list(&state.granted), "inEffect": list(&state.in_effect)});
    std::fs::write(pod_dir.join("resize.tmp"), record.to_string())?;
    std::fs::rename(pod_dir.join("resize.tmp"), pod_dir.join(RECORD))
}

/// One running container whose resources are to change.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerResize {
    pub id: String,
    pub name: String,
    /// Its policy asks for a restart instead of a change in place.
    pub restart: bool,
}

/// Running containers whose resources in effect are not those granted.
pub fn due(pod: &NodePod, view: &PodView, state: &ResizeState) -> Vec<ContainerResize> {
    let resizable = pod.containers().filter(|(role, _)| *role != Role::Ephemeral);
    let mut due = Vec::new();
    for (_, container) in resizable {
        let Some(instance) = view.latest(&container.name).filter(|i| i.is_running()) else { continue };
        let Some(held) = state.of(instance) else { continue };
        let wanted = container.resources.clone().unwrap_or_default();
        if !same(&held, &wanted) {
            let restart = asks_restart(container, &held, &wanted);
            due.push(ContainerResize { id: instance.id().to_owned(), name: container.name.clone(), restart });
        }
    }
    due
}

fn asks_restart(container: &Container, held: &ResourceRequirements, wanted: &ResourceRequirements) -> bool {
    let changed = |name: &str| {
        Amount::of(held.requests.as_ref(), name) != Amount::of(wanted.requests.as_ref(), name)
            || Amount::of(held.limits.as_ref(), name) != Amount::of(wanted.limits.as_ref(), name)
    };
    let policies = container.resize_policy.iter().flatten();
    policies.into_iter().any(|p| p.restart_policy == "RestartContainer" && changed(&p.resource_name))
}
