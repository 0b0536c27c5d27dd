//! Watch events as bytes, made once and shared by all who watch the same thing the same way.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use orlop_api::status::StatusError;
use orlop_api::{codec, meta};
use orlop_base::clock;
use orlop_store::{Entry, Event, Revision};
use serde_json::json;

use crate::Server;
use crate::resource::Resource;
use crate::wire::negotiate::{Media, Output, Shape};
use crate::wire::respond;
use crate::wire::shape::{self, Include};

/// Marks the bookmark that ends the initial state (KEP 3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Added,
    Modified,
    Deleted,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Recent events in their final form. Direct-mapped: one slot per low bits of the revision, so that
/// the watchers of one change find what the first of them made, and nothing grows.
pub struct Recent {
    slots: Box<[Mutex<Option<Slot>>]>,
}

struct Slot {
    form: Form,
    bytes: Bytes,
}

/// What two watchers must agree on to share bytes. A revision is one write of one object: nothing more is
/// needed to name it.
#[derive(Clone, PartialEq)]
struct Form {
    revision: Revision,
    event_type: EventType,
    api_version: Arc<str>,
    output: Output,
    include: Include,
    columns: bool,
}

/// A burst of writes is spread over this many slots before watchers start to make bytes twice.
const SLOTS: usize = 256;
/// Larger events are not kept: with all slots full this bounds the memory to 16 MiB.
const MAX_SHARED: usize = 64 * 1024;

impl Default for Recent {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::default()).collect() }
    }
}

impl Recent {
    fn get_or_make(&self, form: Form, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut slot = self.slots[form.revision as usize % SLOTS].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = slot.as_ref().filter(|slot| slot.form == form) {
            return found.bytes.clone();
        }
        // Made under the lock: whoever waits for it wants these very bytes.
        let bytes = make();
        *slot = (bytes.len() <= MAX_SHARED).then(|| Slot { form, bytes: bytes.clone() });
        bytes
    }
}

/// Writes the events of one watch.
pub struct Encoder {
    server: Arc<Server>,
    resource: Resource,
    api_version: Arc<str>,
    output: Output,
    include: Include,
    /// Tables carry their columns in the first event only.
    columns_sent: bool,
    sent: crate::metrics::WatchEvents,
}

impl Encoder {
    pub fn new(server: Arc<Server>, resource: Resource, output: Output, include: Include) -> Self {
        let sent = server.metrics.watch_events(&resource);
        let api_version = Arc::from(resource.api_version());
        Self { server, resource, api_version, output, include, columns_sent: false, sent }
    }

    /// An entry of the initial state; nobody else is about to ask for the same.
    pub fn initial(&mut self, entry: &Entry) -> Bytes {
        let columns = self.take_columns();
        let bytes = self.make(EventType::Added, entry, columns);
        self.sent.count(bytes.len());
        bytes
    }

    /// A change, as the entry stands after it.
    pub fn event(&mut self, event_type: EventType, entry: &Entry) -> Bytes {
        let columns = self.take_columns();
        let form = Form {
            revision: entry.revision,
            event_type,
            api_version: self.api_version.clone(),
            output: self.output,
            include: self.include,
            columns,
        };
        let bytes = self.server.recent_events.get_or_make(form, || self.make(event_type, entry, columns));
        self.sent.count(bytes.len());
        bytes
    }

    /// DELETED for an object that only left this watcher's selection; `stored` is what it was.
    pub fn left_selection(&mut self, event: &Event, stored: &Bytes) -> Bytes {
        let columns = self.take_columns();
        let entry = Entry {
            key: event.entry.key.clone(),
            revision: event.revision,
            created: event.entry.created,
            json: stored.clone(),
            memo: orlop_store::Memo::default(),
        };
        let bytes = self.make(EventType::Deleted, &entry, columns);
        self.sent.count(bytes.len());
        bytes
    }

    fn take_columns(&mut self) -> bool {
        matches!(self.output.shape, Some(Shape::Table(_))) && !std::mem::replace(&mut self.columns_sent, true)
    }

    fn make(&self, event_type: EventType, entry: &Entry, columns: bool) -> Bytes {
        let object = match (self.output.shape, self.output.media) {
            (None, Media::Protobuf) => respond::protobuf(&self.resource, entry).unwrap_or_default(),
            (None, Media::Cbor) => respond::cbor(&self.resource, entry).unwrap_or_default(),
            (None, _) => self.resource.json(entry),
            (Some(Shape::Table(version)), _) => {
                let cells = shape::cells_of(&self.resource, entry, clock::unix_seconds()).unwrap_or_default();
                let json = self.resource.json(entry);
                self.encode(respond::table_of_one(&self.resource, &cells, &json, self.include, version, columns))
            }
            (Some(Shape::Partial(version) | Shape::PartialList(version)), _) => {
                self.encode(shape::partial(self.resource.kind(), &entry.json, version))
            }
        };
        self.frame(event_type.name(), &object)
    }

    /// JSON of any object in this watch's media type.
    fn encode(&self, json: Bytes) -> Bytes {
        match self.output.media {
            Media::Json | Media::Yaml => json,
            Media::Protobuf | Media::Cbor => respond::encode_json(self.output, json).unwrap_or_default(),
        }
    }

    fn frame(&self, event_type: &str, object: &[u8]) -> Bytes {
        match self.output.media {
            Media::Protobuf => Bytes::from(codec::protobuf::encode_watch_event(event_type, object)),
            Media::Cbor => Bytes::from(codec::cbor::encode_watch_event(event_type, object)),
            _ => Bytes::from([br#"{"type":""#, event_type.as_bytes(), br#"","object":"#, object, b"}\n"].concat()),
        }
    }

    /// How far the watcher has got; `initial_end` closes the initial state.
    pub fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let info = self.resource.info();
        let mut object = json!({
            "kind": &*info.kind, "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": revision.to_string()},
        });
        if initial_end {
            meta::set(&mut object, "annotations", json!({ INITIAL_EVENTS_END: "true" }));
        }
        let json = match self.output.shape {
            None => Bytes::from(object.to_string()),
            Some(Shape::Partial(version) | Shape::PartialList(version)) => {
                shape::partial(self.resource.kind(), object.to_string().as_bytes(), version)
            }
            Some(Shape::Table(version)) => {
                let columns = self.take_columns();
                let include = if self.include == Include::None { Include::Metadata } else { self.include };
                let json = object.to_string();
                let cells = shape::cells(self.resource.kind(), &object, clock::unix_seconds());
                respond::table_of_one(&self.resource, &cells, json.as_bytes(), include, version, columns)
            }
        };
        let bytes = self.encode(json);
        self.sent.count(bytes.len());
        self.frame("BOOKMARK", &bytes)
    }

    /// The end of a watch that cannot go on.
    pub fn error(&self, error: &StatusError) -> Bytes {
        self.frame("ERROR", &self.encode(Bytes::from(error.to_value().to_string())))
    }
}
