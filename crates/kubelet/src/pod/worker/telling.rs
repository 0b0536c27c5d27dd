//! Telling the API: one status write at a time, only when something differs, the newest last; and
//! the deletion of a pod that has ended as asked.

use std::sync::{Arc, PoisonError};

use orlop_base::clock;
use orlop_client::{DeleteOptions, Patch};
use serde_json::Value;

use super::Worker;
use super::done::Done;
use crate::corev1::{Pod, PodStatus};
use crate::pod::plan::Stage;
use crate::pod::spec::NodePod;
use crate::status::phase::Phase;
use crate::status::{self, patch, rejected};

const SECOND: i64 = 1_000_000_000;
const RETRY_NANOS: i64 = SECOND;

/// What is known of the API's side.
pub struct Telling {
    /// The newest object seen, own writes included.
    known: Arc<Pod>,
    /// What was written last, and the revision that was its result: the server may keep less than
    /// it is told, and telling it again would not help.
    written: Option<(Value, String)>,
    under_way: Option<Value>,
    deleting: bool,
    deleted: bool,
    retry_nanos: Option<i64>,
}

impl Telling {
    pub fn new(known: Arc<Pod>) -> Self {
        Self { known, written: None, under_way: None, deleting: false, deleted: false, retry_nanos: None }
    }

    pub fn learn(&mut self, object: &Arc<Pod>) {
        let revision = |pod: &Pod| pod.metadata.resource_version.as_ref().and_then(|v| v.parse::<u64>().ok());
        if object.metadata.uid != self.known.metadata.uid || revision(object) >= revision(&self.known) {
            self.known = object.clone();
        }
    }

    pub fn retry_nanos(&self) -> Option<i64> {
        self.retry_nanos
    }
}

impl Worker {
    /// Makes the status, shows it to the node, and writes it if it is news.
    pub(super) fn tell(&mut self, now: i64) {
        let status = self.status(now);
        let done = self.wish.rejected || matches!(self.stage, Stage::Terminated | Stage::Finished);
        self.previous = status;
        self.handle.set_status(Arc::new(self.previous.clone()), done);
        if !self.wish.gone {
            self.write(now);
            self.delete_when_ended(now);
        }
    }

    fn status(&self, now: i64) -> PodStatus {
        match self.wish.verdict.as_ref().filter(|_| self.wish.rejected) {
            Some(verdict) => {
                let now = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
                rejected(&self.pod, verdict, now)
            }
            None => {
                let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
                status::generate(&self.status_input(&probes, now))
            }
        }
    }

    fn write(&mut self, now: i64) {
        let telling = &mut self.telling;
        if telling.under_way.is_some() || telling.retry_nanos.is_some_and(|retry| retry > now) {
            return;
        }
        telling.retry_nanos = None;
        let Some(target) = self.handle.api_object(&telling.known) else { return };
        let new = patch::to_value(&self.previous);
        let revision = target.metadata.resource_version.clone().unwrap_or_default();
        if telling.written.as_ref().is_some_and(|(value, at)| *value == new && *at == revision) {
            return;
        }
        let old = target.status.as_ref().map(patch::to_value).unwrap_or_default();
        let uid = target.metadata.uid.clone().unwrap_or_default();
        let Some(patch) = patch::status_patch(&uid, &old, &new) else { return };
        telling.under_way = Some(new);
        let pods = self.context.client.api::<Pod>(self.pod.namespace());
        let name = self.pod.name().to_owned();
        self.operations.push(Box::pin(async move {
            Done::Told(pods.patch_status(&name, &Patch::Strategic(patch)).await.map(Box::new))
        }));
    }

    pub(super) fn told(&mut self, result: Result<Box<Pod>, orlop_client::Error>) {
        let value = self.telling.under_way.take().unwrap_or_default();
        match result {
            Ok(pod) => {
                let revision = pod.metadata.resource_version.clone().unwrap_or_default();
                self.telling.written = Some((value, revision));
                let pod = Arc::new(*pod);
                self.handle.learn_mirror(&pod);
                if pod.metadata.uid == self.pod.object.metadata.uid {
                    self.telling.learn(&pod);
                    self.learn_status(&pod);
                }
            }
            // Gone or another: its source will say so.
            Err(error) if error.is_not_found() || error.is_conflict() => {
                self.telling.written = None;
                self.telling.retry_nanos = Some(clock::unix_nanos() + RETRY_NANOS);
            }
            Err(error) => {
                tracing::warn!(pod = self.pod.described(), error = %orlop_base::error::chain(&error), "writing a pod's status");
                self.telling.retry_nanos = Some(clock::unix_nanos() + RETRY_NANOS);
            }
        }
    }

    /// Own writes count at once, not only when the watch shows them.
    fn learn_status(&mut self, written: &Arc<Pod>) {
        let mut object = (*self.pod.object).clone();
        object.status.clone_from(&written.status);
        self.pod = Arc::new(NodePod::new(Arc::new(object), self.pod.origin));
    }

    /// A pod that should go and has ended, as its status in the API shows, is removed from the API.
    fn delete_when_ended(&mut self, now: i64) {
        let telling = &self.telling;
        let phase = telling.known.status.as_ref().and_then(|s| Phase::parse(s.phase.as_deref()));
        let ended = self.stage == Stage::Finished && phase.is_some_and(Phase::is_terminal);
        let idle = !telling.deleting && !telling.deleted && telling.under_way.is_none();
        if !ended || !idle || !self.pod.is_deleted() || self.pod.is_static() {
            return;
        }
        if telling.retry_nanos.is_some_and(|retry| retry > now) {
            return;
        }
        self.telling.deleting = true;
        let pods = self.context.client.api::<Pod>(self.pod.namespace());
        let (name, options) = (self.pod.name().to_owned(), DeleteOptions::uid(self.pod.uid()).grace(0));
        self.operations.push(Box::pin(async move { Done::Deleted(pods.delete(&name, &options).await.map(drop)) }));
    }

    pub(super) fn deleted(&mut self, result: Result<(), orlop_client::Error>) {
        self.telling.deleting = false;
        match result {
            Ok(()) => self.telling.deleted = true,
            Err(error) if error.is_not_found() || error.is_conflict() => self.telling.deleted = true,
            Err(error) => {
                tracing::warn!(pod = self.pod.described(), error = %orlop_base::error::chain(&error), "deleting a pod");
                self.telling.retry_nanos = Some(clock::unix_nanos() + RETRY_NANOS);
            }
        }
    }
}
