//! Deciding resizes: what a pod asks for is granted, put off, or refused (KEP-1287).

use std::sync::Arc;

use orlop_base::clock;
use orlop_client::events::EventType;
use serde_json::json;

use super::Worker;
use crate::admission::resize_fits;
use crate::names;
use crate::pod::ops::resize::Resized;
use crate::pod::resize::{self, Granted, InProgress, Pending};
use crate::pod::spec::NodePod;

impl Worker {
    /// The object changed: takes it over, with the resources that are granted.
    pub(super) fn decide_resize(&mut self, now: i64) {
        let wanted = self.wish.pod.clone();
        let asked = resize::asked(&wanted.object);
        if self.wish.rejected || asked_is_granted(&asked, &self.memory.resize.granted) {
            self.memory.resize.pending = None;
            self.pod = wanted;
            return;
        }
        let at = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let generation = wanted.generation();
        match self.fits(&wanted) {
            Ok(()) => {
                self.memory.resize.granted = asked;
                self.memory.resize.pending = None;
                self.memory.resize.in_progress = Some(InProgress { error: None, generation, since: at });
                let text = format!("Pod resize started: {}", summary(&wanted, generation, None));
                self.context.pod_event(&wanted, EventType::Normal, "ResizeStarted", text);
                self.save();
            }
            Err((reason, message)) => {
                let known = self.memory.resize.pending.as_ref();
                if known.is_none_or(|p| p.reason != reason || p.generation != generation) {
                    let text = format!("Pod resize {reason}: {}", summary(&wanted, generation, Some(&message)));
                    self.context.pod_event(&wanted, EventType::Warning, &format!("Resize{reason}"), text);
                    self.memory.resize.pending = Some(Pending { reason, message, generation, since: at });
                }
            }
        }
        let granted = resize::as_granted(&wanted.object, &self.memory.resize.granted);
        self.pod = Arc::new(NodePod::new(Arc::new(granted), wanted.origin));
        self.handle.set_granted(self.pod.clone());
    }

    fn fits(&self, wanted: &NodePod) -> Result<(), (&'static str, String)> {
        if wanted.is_static() {
            return Err(("Infeasible", "In-place resize of static-pods is not supported".to_owned()));
        }
        let others = self.context.pods.claimants_beside(wanted.uid());
        let others: Vec<&NodePod> = others.iter().map(|pod| &**pod).collect();
        resize_fits(wanted, &others, &self.context.allocatable)
    }

    pub(super) fn resized(&mut self, resized: Resized) {
        self.busy.resize = false;
        self.memory.resize.in_effect.extend(resized.in_effect);
        self.save();
        let now = clock::now();
        let generation = self.pod.generation();
        match resized.error {
            None => {
                self.memory.setup_retry_nanos = 0;
                if resize::due(&self.pod, &self.view, &self.memory.resize).is_empty() {
                    self.memory.resize.in_progress = None;
                    let text = format!("Pod resize completed: {}", summary(&self.pod, generation, None));
                    self.context.pod_event(&self.pod, EventType::Normal, "ResizeCompleted", text);
                }
            }
            Some(error) => {
                let text = format!("Pod resize error: {}", summary(&self.pod, generation, Some(&error)));
                self.context.pod_event(&self.pod, EventType::Warning, "ResizeError", text);
                let since = self.memory.resize.in_progress.as_ref().map_or(now, |p| p.since);
                self.memory.resize.in_progress = Some(InProgress { error: Some(error), generation, since });
                self.memory.setup_retry_nanos = clock::unix_nanos() + 10_000_000_000;
            }
        }
    }

    /// A restart of the agent must not forget what was granted.
    fn save(&self) {
        let dir = self.context.pod_dir(&self.pod);
        if let Err(error) = resize::save(&dir, &self.memory.resize) {
            tracing::warn!(pod = self.pod.described(), %error, "recording a pod's granted resources");
        }
    }
}

fn asked_is_granted(asked: &Granted, granted: &Granted) -> bool {
    asked.iter().all(|(name, resources)| granted.get(name).is_none_or(|have| resize::same(have, resources)))
}

/// `{"containers":[...],"generation":2}`, as upstream's events end.
fn summary(pod: &NodePod, generation: i64, error: Option<&str>) -> String {
    let list = |containers: &[crate::corev1::Container]| -> serde_json::Value {
        let resources = |c: &crate::corev1::Container| -> serde_json::Value {
            serde_json::from_str(&names::encode_resources(&c.resources.clone().unwrap_or_default())).unwrap_or_default()
        };
        containers.iter().map(|c| json!({"name": c.name, "resources": resources(c)})).collect()
    };
    let mut parts = Vec::new();
    if !pod.init_containers().is_empty() {
        parts.push(format!("\"initContainers\":{}", list(pod.init_containers())));
    }
    parts.push(format!("\"containers\":{}", list(pod.main_containers())));
    parts.push(format!("\"generation\":{generation}"));
    parts.extend(error.map(|error| format!("\"error\":{}", json!(error))));
    format!("{{{}}}", parts.join(","))
}
