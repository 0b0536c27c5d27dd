//! Decides what becomes of an event: a new object, a higher count on an old one, or nothing.
//! Pure apart from its memory (`k8s.io/client-go/tools/record/events_cache.go`).

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use orlop_api::typed::kinds::Event;
use serde_json::{Value, json};

use super::lru::Lru;

const CACHE_ENTRIES: usize = 4096;

/// This many events that differ only by message, within the interval below, become one.
const AGGREGATE_MAX_EVENTS: usize = 10;
const AGGREGATE_INTERVAL_SECONDS: i64 = 600;

/// One source may say this much about one object at once, and then one thing every five minutes.
const SPAM_BURST: f64 = 25.0;
const SPAM_PER_SECOND: f64 = 1.0 / 300.0;

pub(super) struct Correlator {
    similar: Lru<Similar>,
    seen: Lru<Option<Seen>>,
    budgets: Lru<Budget>,
}

/// Events that differ only by message.
#[derive(Default)]
struct Similar {
    messages: BTreeSet<u64>,
    last: Option<Timestamp>,
}

/// An event as it stands in the API.
#[derive(Clone)]
struct Seen {
    name: String,
    count: i32,
    first: Option<Time>,
}

/// A token bucket.
struct Budget {
    tokens: f64,
    at: Timestamp,
}

/// What to write.
pub(super) struct Verdict {
    /// To create, or the whole of what `patch` yields.
    pub event: Event,
    /// Strategic merge patch of the event of this name, if there is one already.
    pub patch: Option<Value>,
}

impl Correlator {
    pub fn new() -> Self {
        Self { similar: Lru::new(CACHE_ENTRIES), seen: Lru::new(CACHE_ENTRIES), budgets: Lru::new(CACHE_ENTRIES) }
    }

    /// `None`: too much has been said about this object.
    pub fn judge(&mut self, event: Event, now: Timestamp) -> Option<Verdict> {
        let spam_key = key(&event, &[event.type_.as_deref()], false);
        let (event, seen_key) = self.aggregate(event, now);
        let verdict = self.count(event, seen_key);
        let fresh = || Budget { tokens: SPAM_BURST, at: now };
        self.budgets.entry(spam_key, fresh).take(now).then_some(verdict)
    }

    /// Remembers the event as the server has it.
    pub fn written(&mut self, event: &Event) {
        let seen = Seen {
            name: event.metadata.name.clone().unwrap_or_default(),
            count: event.count.unwrap_or(1),
            first: event.first_timestamp.clone(),
        };
        *self.seen.entry(event_key(event), || None) = Some(seen);
    }

    fn aggregate(&mut self, event: Event, now: Timestamp) -> (Event, u64) {
        let group_key = key(
            &event,
            &[
                event.type_.as_deref(),
                event.reason.as_deref(),
                event.reporting_component.as_deref(),
                event.reporting_instance.as_deref(),
            ],
            false,
        );
        let similar = self.similar.entry(group_key, Similar::default);
        if similar.last.is_none_or(|last| now.as_second() - last.as_second() > AGGREGATE_INTERVAL_SECONDS) {
            similar.messages.clear();
        }
        similar.messages.insert(hash(&event.message));
        similar.last = Some(now);
        if similar.messages.len() < AGGREGATE_MAX_EVENTS {
            let own = event_key(&event);
            return (event, own);
        }
        similar.messages.pop_first();
        (combined(event, now), group_key)
    }

    fn count(&mut self, mut event: Event, key: u64) -> Verdict {
        let seen = self.seen.entry(key, || None);
        let patch = seen.as_ref().map(|known| {
            event.metadata.name = Some(known.name.clone());
            event.first_timestamp.clone_from(&known.first);
            event.count = Some(known.count.saturating_add(1));
            json!({ "count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message })
        });
        *seen = Some(Seen {
            name: event.metadata.name.clone().unwrap_or_default(),
            count: event.count.unwrap_or(1),
            first: event.first_timestamp.clone(),
        });
        Verdict { event, patch }
    }
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let elapsed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + elapsed * SPAM_PER_SECOND).min(SPAM_BURST);
        self.at = now;
        let paid = self.tokens >= 1.0;
        if paid {
            self.tokens -= 1.0;
        }
        paid
    }
}

fn combined(event: Event, now: Timestamp) -> Event {
    let message = format!("(combined from similar events): {}", event.message.as_deref().unwrap_or_default());
    let about = event.involved_object.name.as_deref().unwrap_or_default();
    let nanos = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    Event {
        metadata: ObjectMeta {
            name: Some(super::recorder::event_name(about, nanos)),
            namespace: event.metadata.namespace,
            ..ObjectMeta::default()
        },
        involved_object: event.involved_object,
        message: Some(message),
        reason: event.reason,
        type_: event.type_,
        source: event.source,
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        ..Event::default()
    }
}

fn event_key(event: &Event) -> u64 {
    key(event, &[event.type_.as_deref(), event.reason.as_deref(), event.message.as_deref()], true)
}

/// Source and object, plus whatever else tells events apart.
fn key(event: &Event, more: &[Option<&str>], with_field_path: bool) -> u64 {
    let about = &event.involved_object;
    let source = event.source.as_ref();
    let field_path = if with_field_path { &about.field_path } else { &None };
    hash(&(
        source.map(|s| (&s.component, &s.host)),
        (&about.kind, &about.namespace, &about.name, &about.uid, &about.api_version),
        field_path,
        more,
    ))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
