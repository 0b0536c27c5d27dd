//! What readers and watchers see: the durable state, and the way it came about.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::history::{History, Part};
use crate::snapshot::At;
use crate::{Event, HistoryLimits, Loaded, Published, Revision, Snapshot, StoreError};

pub(crate) struct View {
    /// The state and its revision at once: what is read at a revision can be followed from there.
    current: ArcSwap<At>,
    /// Rings when that changes; waiters wake in their order.
    bell: Notify,
    /// Changed under the same lock as `current`, so that the two always fit.
    history: Mutex<History>,
    channels: RwLock<Channels>,
    /// Why there will be no further revision.
    failure: OnceLock<Arc<io::Error>>,
}

/// Events forgotten at once when they come from before a restart; their own groups are not known.
const REMEMBERED_GROUP: usize = 64;

struct Channels {
    by_resource: BTreeMap<Arc<str>, Arc<Channel>>,
    /// Where history began: what a resource without a channel yet has had no event since.
    floor: Revision,
    closed: bool,
}

impl View {
    pub fn new(loaded: Loaded, limits: HistoryLimits) -> View {
        let floor = loaded.events.first().map_or(loaded.revision, |event| event.revision - 1);
        let view = View {
            current: ArcSwap::from_pointee(At { revision: loaded.revision, state: loaded.state }),
            bell: Notify::new(),
            history: Mutex::new(History::new(limits, floor)),
            channels: RwLock::new(Channels { by_resource: BTreeMap::new(), floor, closed: false }),
            failure: OnceLock::new(),
        };
        view.remember(&loaded.events);
        view
    }

    /// Fills the history with what was published before a restart.
    fn remember(&self, events: &[Event]) {
        let now = Instant::now();
        let mut history = self.history();
        for group in events.chunks(REMEMBERED_GROUP) {
            let parts = self.parts(group.to_vec());
            for part in &parts {
                part.channel.push(part.events.clone());
            }
            history.push(group[group.len() - 1].revision, parts, None, true, now);
        }
        history.trim(now);
    }

    pub fn revision(&self) -> Revision {
        self.current.load().revision
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot { inner: self.current.load_full() }
    }

    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, StoreError> {
        let rewind = {
            let history = self.history();
            let current = self.current.load_full();
            if revision > current.revision {
                return Err(StoreError::Future { requested: revision, newest: current.revision });
            }
            if revision == current.revision {
                return Ok(Snapshot { inner: current });
            }
            if revision < history.floor() {
                return Err(StoreError::Compacted { requested: revision, oldest: history.floor() });
            }
            if let Some(oldest) = history.gap(revision) {
                return Err(StoreError::Compacted { requested: revision, oldest });
            }
            history.rewind(&current.state, current.revision, revision)
        };
        Ok(Snapshot::new(revision, rewind.run()))
    }

    /// Ends with an error when the store closes or fails first.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        if self.revision() >= revision {
            return Ok(());
        }
        loop {
            let mut rung = std::pin::pin!(self.bell.notified());
            // Listening before looking.
            rung.as_mut().enable();
            if self.revision() >= revision {
                return Ok(());
            }
            if let Some(failure) = self.failure.get() {
                return Err(StoreError::Io(failure.clone()));
            }
            if self.channels.read().unwrap_or_else(PoisonError::into_inner).closed {
                return Err(StoreError::Closed);
            }
            rung.await;
        }
    }

    pub fn publish(&self, published: Published) {
        let Published { revision, state, events, complete } = published;
        let now = Instant::now();
        let parts = self.parts(events);
        let bells: Vec<_> = parts.iter().map(|part| (part.channel.clone(), part.events.clone())).collect();
        {
            // Events first, then the state: who reads the state at R and watches after R misses nothing.
            let mut history = self.history();
            for part in &parts {
                part.channel.push(part.events.clone());
            }
            history.push(revision, parts, Some(&state), complete, now);
            self.current.store(Arc::new(At { revision, state }));
            history.trim(now);
        }
        self.bell.notify_waiters();
        for (channel, events) in &bells {
            channel.ring(events);
        }
    }

    /// Splits by resource, keeping order within each.
    fn parts(&self, events: Vec<Event>) -> Vec<Part> {
        let mut by_resource: Vec<(Arc<str>, Vec<Event>)> = Vec::new();
        for event in events {
            let resource = &event.entry.key.resource;
            match by_resource.iter_mut().find(|(known, _)| known == resource) {
                Some((_, list)) => list.push(event),
                None => by_resource.push((resource.clone(), vec![event])),
            }
        }
        let part = |(resource, events): (Arc<str>, Vec<Event>)| Part {
            channel: self.channel(&resource),
            events: Arc::from(events),
        };
        by_resource.into_iter().map(part).collect()
    }

    pub fn channel(&self, resource: &str) -> Arc<Channel> {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.by_resource.get(resource) {
            return channel.clone();
        }
        drop(channels);
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        let (floor, closed) = (channels.floor, channels.closed);
        let channel = channels.by_resource.entry(resource.into()).or_insert_with(|| Arc::new(Channel::new(floor)));
        if closed {
            channel.close();
        }
        channel.clone()
    }

    pub fn compact(&self, revision: Revision) {
        self.history().compact(revision);
    }

    /// Up to where events after `revision` are missing, if any are.
    pub fn missed_after(&self, revision: Revision) -> Option<Revision> {
        self.history().missed_after(revision)
    }

    /// The oldest revision that can still be read exactly, and the size of the window.
    pub fn window(&self) -> (Revision, usize, usize) {
        let history = self.history();
        let (events, bytes) = history.size();
        (history.floor(), events, bytes)
    }

    pub fn fail(&self, failure: Arc<io::Error>) {
        // A second failure says nothing new.
        let _ = self.failure.set(failure);
        self.bell.notify_waiters();
    }

    pub fn close(&self) {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        channels.closed = true;
        channels.by_resource.values().for_each(|channel| channel.close());
        drop(channels);
        self.bell.notify_waiters();
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Watch;
    use crate::state::State;

    #[test]
    fn whoever_reads_the_state_may_watch_from_there() {
        let loaded = Loaded { revision: 1, state: State::default(), events: Vec::new(), torn: None };
        let view = Arc::new(View::new(loaded, HistoryLimits::default()));
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                for revision in 2..20_000 {
                    let (state, events) = (State::default(), Vec::new());
                    view.publish(Published { revision, state, events, complete: true });
                }
            });
            while !publishing.is_finished() {
                let seen = view.snapshot().revision();
                assert!(Watch::new(view.clone(), "pods", None, seen).is_ok(), "{seen} is read and not there yet");
            }
        });
    }
}
