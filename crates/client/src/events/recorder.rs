//! The callers' side, and the task that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{EventSource, ObjectReference};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use orlop_api::typed::kinds::Event;
use orlop_base::{clock, error, id};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::correlator::{Correlator, Verdict};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::params::Patch;

/// As client-go's broadcaster: what does not fit is dropped, events must not hold up work.
const MAX_QUEUED: usize = 1000;

const MAX_TRIES: u32 = 12;
const RETRY: Duration = Duration::from_secs(10);

/// Longest DNS subdomain.
const MAX_NAME_BYTES: usize = 253;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events as one source. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Event>,
    source: EventSource,
    /// Nanoseconds in the name of the last event: no two share them, however coarse the clock.
    last: Arc<AtomicI64>,
}

impl Recorder {
    /// `component` is the source (`replicaset-controller`), `host` the node it speaks for or empty.
    /// Writes until `shutdown`; what is queued by then is dropped.
    pub fn new(client: Client, component: &str, host: &str, shutdown: CancellationToken) -> Self {
        let (queue, events) = mpsc::channel(MAX_QUEUED);
        orlop_base::task::spawn(shutdown.run_until_cancelled_owned(write_all(client, events)));
        let host = (!host.is_empty()).then(|| host.to_owned());
        let source = EventSource { component: Some(component.to_owned()), host };
        Self { queue, source, last: Arc::default() }
    }

    /// Records that something happened to the object. Never blocks.
    pub fn event(&self, about: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        self.record(self.make(about, kind, reason, message.into()));
    }

    /// An event as [`Recorder::event`] would record it, for callers that add to it first.
    pub fn make(&self, about: &ObjectReference, kind: EventType, reason: &str, message: String) -> Event {
        let now = clock::now();
        let name = event_name(about.name.as_deref().unwrap_or_default(), self.distinct(now));
        let namespace = about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".to_owned());
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: about.clone(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            type_: Some(kind.as_str().to_owned()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            source: Some(self.source.clone()),
            ..Event::default()
        }
    }

    fn distinct(&self, now: Timestamp) -> i64 {
        let nanos = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let next = |last: i64| nanos.max(last.saturating_add(1));
        next(self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))).unwrap_or_default())
    }

    /// Queues a complete event.
    pub fn record(&self, event: Event) {
        if let Err(dropped) = self.queue.try_send(event) {
            tracing::warn!(%dropped, "too many events wait to be written; one was dropped");
        }
    }
}

/// How an event names the object it is about.
pub fn reference<K: Typed>(object: &K) -> ObjectReference {
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        namespace: text(object.namespace()),
        name: text(object.name()),
        uid: text(object.uid()),
        resource_version: text(object.resource_version()),
        field_path: None,
    }
}

/// `name.<nanoseconds in hex>`; a name that would not be valid so (kubernetes#127594) gives a uuid.
pub(super) fn event_name(about: &str, nanos: i64) -> String {
    let name = format!("{about}.{nanos:x}");
    let valid = name.split('.').all(|label| {
        let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    });
    if valid && name.len() <= MAX_NAME_BYTES { name } else { id::uuid() }
}

async fn write_all(client: Client, mut events: mpsc::Receiver<Event>) {
    let mut correlator = Correlator::new();
    while let Some(event) = events.recv().await {
        let Some(verdict) = correlator.judge(event, clock::now()) else { continue };
        if let Some(written) = write_persistently(&client, &verdict).await {
            correlator.written(&written);
        }
    }
}

async fn write_persistently(client: &Client, verdict: &Verdict) -> Option<Event> {
    for tries in 1..=MAX_TRIES {
        match write(client, verdict).await {
            Ok(event) => return Some(event),
            Err(Error::Status(status)) => {
                // Refused is refused: it would be again.
                tracing::debug!(%status, "an event was rejected");
                return None;
            }
            Err(failure) if tries == MAX_TRIES => {
                tracing::warn!(error = %error::chain(&failure), "an event could not be written");
            }
            Err(_) => {
                let wait = if tries == 1 { RETRY.mul_f64(id::fraction()) } else { RETRY };
                tokio::time::sleep(wait).await;
            }
        }
    }
    None
}

async fn write(client: &Client, verdict: &Verdict) -> Result<Event> {
    let event = &verdict.event;
    let api = client.api::<Event>(event.metadata.namespace.as_deref().unwrap_or_default());
    if let Some(patch) = &verdict.patch {
        match api.patch(event.name(), &Patch::Strategic(patch.clone())).await {
            // Its time was up: start a new one.
            Err(error) if error.is_not_found() => {}
            done => return done,
        }
    }
    api.create(event).await
}
