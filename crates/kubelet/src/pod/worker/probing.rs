//! The probes of a pod: one task each, told what there is to ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::Worker;
use crate::context::Context;
use crate::names;
use crate::pod::plan::Stage;
use crate::pods::PodHandle;
use crate::probes::worker::{Prober, Target};
use crate::probes::{ProbeKind, ProbeResults};
use crate::status::container_status;

pub struct Probers {
    context: Arc<Context>,
    handle: Arc<PodHandle>,
    results: Arc<Mutex<ProbeResults>>,
    running: BTreeMap<(String, ProbeKind), Running>,
}

struct Running {
    target: watch::Sender<Target>,
    _task: AbortOnDropHandle<()>,
}

impl Probers {
    pub fn new(context: Arc<Context>, handle: Arc<PodHandle>, results: Arc<Mutex<ProbeResults>>) -> Self {
        Self { context, handle, results, running: BTreeMap::new() }
    }
}

impl Worker {
    /// Brings the probes in line with the pod. A pod that ends is no longer judged alive or started,
    /// only ready.
    pub(super) fn probe(&mut self) {
        let kinds: &[ProbeKind] = match self.stage {
            Stage::Active => &ProbeKind::ALL,
            Stage::Terminating => &[ProbeKind::Readiness],
            Stage::Terminated | Stage::Finished => &[],
        };
        self.probers.running.retain(|(_, kind), _| kinds.contains(kind));
        let pod = self.as_pod();
        for (_, container) in pod.containers() {
            for kind in kinds.iter().copied() {
                let Some(probe) = kind.of(container) else { continue };
                let target = self.target(&container.name);
                let key = (container.name.clone(), kind);
                if let Some(running) = self.probers.running.get(&key) {
                    running.target.send_if_modified(|old| {
                        let news = *old != target;
                        *old = target;
                        news
                    });
                    continue;
                }
                let prober = Prober {
                    context: self.probers.context.clone(),
                    handle: self.probers.handle.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                    probe: probe.clone(),
                    kind,
                    results: self.probers.results.clone(),
                };
                let (sender, receiver) = watch::channel(target);
                let task = AbortOnDropHandle::new(orlop_base::task::spawn(prober.run(receiver)));
                self.probers.running.insert(key, Running { target: sender, _task: task });
            }
        }
    }

    fn target(&self, name: &str) -> Target {
        let Some(instance) = self.view.latest(name).filter(|i| i.is_running()) else { return Target::default() };
        let status = container_status(&self.previous, name);
        let same = status.filter(|s| s.container_id.as_deref().map(names::bare_id) == Some(instance.id()));
        let own = if self.pod.host_network() { None } else { self.view.ips.first().copied() };
        Target {
            container_id: Some(instance.id().to_owned()),
            started_unix_nanos: instance.runtime.started_unix_nanos,
            started: same.is_some_and(|s| s.started == Some(true)),
            pod_ip: own.unwrap_or_else(|| self.context.config.node_ip()).to_string(),
        }
    }
}
