//! Every durable event, in order, and what they add up to.
//!
//! Follows all resources of the store at once: together their events must be every revision once, but for
//! those that a start after a crash skips.
//! After a crash the store on the surviving disk must hold exactly what the events so far say, and
//! every write that was acknowledged must be among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_store::{Entry, Event, Key, Revision, Store, StoreError, Watch};
use serde_json::Value;

use crate::network::Ack;
use crate::violation::Violation;

pub struct History {
    watches: Vec<Watch>,
    /// What was there at the start, before any event of this run.
    start: Revision,
    revision: Revision,
    /// Where the store went on after its last crash: past every revision that anybody was told.
    resumed: Revision,
    state: BTreeMap<Key, Arc<Entry>>,
    /// In order of revisions.
    events: Vec<Event>,
    hash: Fnv,
}

impl History {
    /// From what `store` holds now.
    pub fn new(store: &Store) -> Result<Self, Violation> {
        let snapshot = store.snapshot();
        let state = contents(store);
        let start = snapshot.revision();
        let mut history = Self {
            watches: Vec::new(),
            start,
            revision: start,
            resumed: start,
            state,
            events: Vec::new(),
            hash: Fnv::default(),
        };
        history.follow(store)?;
        Ok(history)
    }

    /// Goes on with a store that was opened again.
    pub fn recovered(&mut self, store: &Store) -> Result<(), Violation> {
        self.watches.clear();
        if store.revision() < self.revision {
            let event = &self.events[self.events.len() - 1];
            return Err(Violation::Lost { write: format!("{:?}", event.entry.key), revision: self.revision });
        }
        self.resumed = store.revision();
        self.follow(store)
    }

    fn follow(&mut self, store: &Store) -> Result<(), Violation> {
        let mut keys: Vec<&str> = orlop_api::kinds::all().iter().map(|kind| &*kind.info().storage_key).collect();
        keys.sort_unstable();
        keys.dedup();
        let after = self.revision;
        let watches = keys.into_iter().map(|key| store.watch(key, None, after)).collect::<Result<_, _>>();
        self.watches = watches.map_err(|error| Violation::Watch(error.to_string()))?;
        Ok(())
    }

    /// Takes in what has happened since the last call and answers how many events were known before.
    pub fn drain(&mut self) -> Result<usize, Violation> {
        let known = self.events.len();
        let mut new: Vec<Event> = Vec::new();
        for watch in &mut self.watches {
            loop {
                match watch.try_next() {
                    Ok(Some(batch)) => new.extend(batch.iter().cloned()),
                    Ok(None) | Err(StoreError::Closed) => break,
                    Err(error) => return Err(Violation::Watch(error.to_string())),
                }
            }
        }
        new.sort_by_key(|event| event.revision);
        for event in new {
            self.take(event)?;
        }
        Ok(known)
    }

    fn take(&mut self, event: Event) -> Result<(), Violation> {
        if event.revision != self.revision + 1 && event.revision != self.resumed + 1 {
            return Err(Violation::Gap { after: self.revision, got: event.revision });
        }
        self.revision = event.revision;
        let key = event.entry.key.clone();
        let before =
            if event.deleted { self.state.remove(&key) } else { self.state.insert(key.clone(), event.entry.clone()) };
        if before.map(|entry| entry.revision) != event.previous.as_ref().map(|entry| entry.revision) {
            return Err(Violation::Diverged { when: "an event", key });
        }
        self.hash.add(format!("{} {key:?} {}", event.revision, event.deleted).as_bytes());
        self.hash.add(&event.entry.json);
        tracing::debug!(revision = event.revision, deleted = event.deleted, json = %String::from_utf8_lossy(&event.entry.json), "event");
        self.events.push(event);
        Ok(())
    }

    /// The store holds what its events add up to, to the byte.
    pub fn check_state(&self, store: &Store, when: &'static str) -> Result<(), Violation> {
        let held = contents(store);
        let keys = held.keys().chain(self.state.keys());
        let same = |key: &&Key| match (held.get(*key), self.state.get(*key)) {
            (Some(held), Some(told)) => held.revision == told.revision && held.json == told.json,
            _ => false,
        };
        match keys.into_iter().find(|key| !same(key)) {
            Some(key) => Err(Violation::Diverged { when, key: key.clone() }),
            None => Ok(()),
        }
    }

    /// The write is in the log, under its revision; a deletion is followed by its object's end.
    pub fn check_ack(&self, ack: &Ack) -> Result<(), Violation> {
        let lost = |revision| Violation::Lost { write: ack.write.clone(), revision };
        let Some(revision) = ack.revision else {
            let alive = self.state.values().find(|entry| uid(&entry.json) == ack.uid);
            return match alive {
                Some(entry) if !is_terminating(&entry.json) => Err(lost(entry.revision)),
                _ => Ok(()),
            };
        };
        if revision <= self.start {
            return Ok(());
        }
        match self.event(revision) {
            Some(event) if uid(&event.entry.json) == ack.uid => Ok(()),
            _ => Err(lost(revision)),
        }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The event that made `revision`; `None` before the start and after the end.
    pub fn event(&self, revision: Revision) -> Option<&Event> {
        let index = self.events.binary_search_by_key(&revision, |event| event.revision).ok()?;
        Some(&self.events[index])
    }

    /// Of the sequence of all events, every byte of them.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// The newest objects of a resource.
    pub fn objects<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = Value> + 'a {
        let entries = self.state.values().filter(move |entry| *entry.key.resource == *resource);
        entries.map(|entry| parse(entry))
    }

    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.state.values()
    }
}

/// What is stored is JSON; null stands for anything else, which no check will like.
pub fn parse(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.json).unwrap_or_default()
}

fn contents(store: &Store) -> BTreeMap<Key, Arc<Entry>> {
    let snapshot = store.snapshot();
    let resources = snapshot.resources();
    let entries = resources.flat_map(|resource| snapshot.range(resource, None, None));
    entries.map(|entry| (entry.key.clone(), entry.clone())).collect()
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Head {
    metadata: Meta,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    uid: String,
    deletion_timestamp: Option<String>,
}

fn head(json: &[u8]) -> Head {
    serde_json::from_slice(json).unwrap_or_default()
}

fn uid(json: &[u8]) -> String {
    head(json).metadata.uid
}

pub fn is_terminating(json: &[u8]) -> bool {
    head(json).metadata.deletion_timestamp.is_some()
}

/// FNV-1a over 64 bits: enough to tell two histories apart, and the same everywhere.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
