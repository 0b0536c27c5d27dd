//! Writes that are decided and not yet durable.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::commit::Commit;
use crate::decide::decide;
use crate::draft::Filling;
use crate::{Action, Entry, Event, Key, Revision, State, StoreError};

pub(crate) struct Queue {
    /// State after every decided write.
    pub newest: State,
    /// Last revision given out.
    pub revision: Revision,
    /// What that was before the first write.
    pub opened_at: Revision,
    pub pending: Vec<Event>,
    pub pending_bytes: usize,
    /// Somebody waits for the pending writes.
    pub urgent: bool,
    /// Fate of the pending writes.
    pub commit: Arc<Commit>,
    /// Last revision given to a relaxed write, of resources that had one recently.
    relaxed: BTreeMap<Arc<str>, Revision>,
    /// Last revision given to a write under `unless_newer`, of resources that had one since the start.
    turns: BTreeMap<Arc<str>, Revision>,
    pub failure: Option<Arc<io::Error>>,
    pub closing: bool,
}

/// What the committer takes off the queue.
pub(crate) struct Group {
    /// In revision order; maybe none.
    pub events: Vec<Event>,
    /// State after the last of them.
    pub state: State,
    pub revision: Revision,
    pub commit: Arc<Commit>,
}

impl Queue {
    pub fn new(revision: Revision, newest: State) -> Queue {
        Queue {
            newest,
            revision,
            opened_at: revision,
            pending: Vec::new(),
            pending_bytes: 0,
            urgent: false,
            commit: Arc::default(),
            relaxed: BTreeMap::new(),
            turns: BTreeMap::new(),
            failure: None,
            closing: false,
        }
    }

    /// Decides and, if it may happen, gives the change its revision.
    pub fn admit(
        &mut self,
        key: Key,
        action: &Action,
        unless_newer: Option<Revision>,
        filling: Filling,
    ) -> Result<Arc<Entry>, StoreError> {
        if let Some(failure) = &self.failure {
            return Err(StoreError::Io(failure.clone()));
        }
        if self.closing {
            return Err(StoreError::Closed);
        }
        let previous = decide(&self.newest, &key, action)?;
        let last_turn = self.turns.get(&key.resource).copied().unwrap_or_default();
        if unless_newer.is_some_and(|seen| seen < last_turn) {
            return Err(StoreError::Overtaken);
        }
        let revision = self.revision + 1;
        let (key, created) = match &previous {
            Some(previous) => (previous.key.clone(), previous.created),
            None => (self.newest.interned(key), revision),
        };
        let json = filling.finish(revision);
        let entry = Arc::new(Entry { key, revision, created, json, memo: crate::Memo::default() });
        let deleted = matches!(action, Action::Delete { .. });
        if deleted {
            self.newest.remove(&entry.key);
        } else {
            self.newest.put(entry.clone());
        }
        self.revision = revision;
        if unless_newer.is_some() {
            self.turns.insert(entry.key.resource.clone(), revision);
        }
        self.pending_bytes += entry.json.len();
        self.pending.push(Event { revision, entry: entry.clone(), previous, deleted });
        Ok(entry)
    }

    pub fn note_relaxed(&mut self, entry: &Entry) {
        match self.relaxed.get_mut(&entry.key.resource) {
            Some(revision) => *revision = entry.revision,
            None => drop(self.relaxed.insert(entry.key.resource.clone(), entry.revision)),
        }
    }

    pub fn relaxed_revision(&self, resource: &str) -> Option<Revision> {
        self.relaxed.get(resource).copied()
    }

    /// Closed, with nothing left to do.
    pub fn is_drained(&self) -> bool {
        self.closing && (self.pending.is_empty() || self.failure.is_some())
    }

    pub fn take(&mut self) -> Group {
        self.pending_bytes = 0;
        self.urgent = false;
        Group {
            events: std::mem::take(&mut self.pending),
            state: self.newest.clone(),
            revision: self.revision,
            commit: std::mem::take(&mut self.commit),
        }
    }

    /// Takes no more writes; what was not durable is gone from `newest` too.
    pub fn fail(&mut self, failure: &Arc<io::Error>, durable: State) {
        self.failure = Some(failure.clone());
        self.newest = durable;
        // Readers do not wait for what will not come.
        self.relaxed.clear();
        let lost = self.take();
        lost.commit.finish(Some(failure.clone()));
    }
}
