//! The window of past events: bounds it, and goes back in time with it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::channel::Channel;
use crate::{Event, HistoryLimits, Revision, State};

/// A state is kept every so many events, so that going back never undoes more than these. Each costs
/// the tree nodes that changed until the next: a few hundred bytes per event at worst, kept for one
/// event in this many.
const ANCHOR_EVENTS: usize = 512;

/// What an event costs beyond its bytes: the two `Arc<Entry>` it may be the last to hold, and its slot.
const EVENT_OVERHEAD: usize = 256;

pub(crate) struct History {
    groups: VecDeque<Group>,
    limits: HistoryLimits,
    /// Everything after this revision is known.
    floor: Revision,
    events: usize,
    bytes: usize,
    since_anchor: usize,
}

/// What was published at once.
struct Group {
    /// Of its last event.
    revision: Revision,
    at: Instant,
    events: usize,
    bytes: usize,
    parts: Vec<Part>,
    /// The state at `revision`.
    anchor: Option<State>,
    /// Whether states between the last group's revision and this one can be read.
    complete: bool,
}

/// A group's events of one resource.
pub(crate) struct Part {
    pub channel: Arc<Channel>,
    pub events: Arc<[Event]>,
}

/// How to get to a past state: from a later one, undoing events.
pub(crate) struct Rewind {
    start: State,
    /// Latest first.
    undo: Vec<Arc<[Event]>>,
    from: Revision,
    to: Revision,
}

impl History {
    pub fn new(limits: HistoryLimits, floor: Revision) -> History {
        History { groups: VecDeque::new(), limits, floor, events: 0, bytes: 0, since_anchor: 0 }
    }

    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// Events and bytes kept.
    pub fn size(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    /// `state` is the one at `revision`, when it is at hand.
    pub fn push(&mut self, revision: Revision, parts: Vec<Part>, state: Option<&State>, complete: bool, now: Instant) {
        // However often there is nothing but a revision, it takes no room.
        if parts.is_empty()
            && complete
            && let Some(last) = self.groups.back_mut()
        {
            last.revision = revision;
            return;
        }
        let events = parts.iter().map(|part| part.events.len()).sum();
        let bytes = parts.iter().flat_map(|part| part.events.iter()).map(held_bytes).sum();
        self.events += events;
        self.bytes += bytes;
        self.since_anchor += events;
        let anchor = state.filter(|_| self.since_anchor >= ANCHOR_EVENTS).cloned();
        if anchor.is_some() {
            self.since_anchor = 0;
        }
        self.groups.push_back(Group { revision, at: now, events, bytes, parts, anchor, complete });
    }

    /// Forgets what is over the limits.
    pub fn trim(&mut self, now: Instant) {
        while let Some(oldest) = self.groups.front() {
            let over = self.events > self.limits.events
                || self.bytes > self.limits.bytes
                || now.saturating_duration_since(oldest.at) > self.limits.age;
            if !over {
                break;
            }
            self.pop();
        }
    }

    /// Forgets every event up to and including `revision` (whole groups).
    pub fn compact(&mut self, revision: Revision) {
        while self.groups.front().is_some_and(|group| group.revision <= revision) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(group) = self.groups.pop_front() else { return };
        self.floor = group.revision;
        self.events -= group.events;
        self.bytes -= group.bytes;
        group.parts.iter().for_each(|part| part.channel.evict_front());
    }

    /// The end of the gap that `revision` lies in, if it does.
    pub fn gap(&self, revision: Revision) -> Option<Revision> {
        let next = self.groups.partition_point(|group| group.revision <= revision);
        let start = next.checked_sub(1).map_or(self.floor, |before| self.groups[before].revision);
        let group = self.groups.get(next).filter(|group| !group.complete && revision > start)?;
        Some(group.revision)
    }

    /// Up to where events after `revision` are missing, if any are.
    pub fn missed_after(&self, revision: Revision) -> Option<Revision> {
        if revision < self.floor {
            return Some(self.floor);
        }
        self.groups.iter().rfind(|group| group.revision > revision && !group.complete).map(|group| group.revision)
    }

    /// The way from `current` (state at `newest`) back to `revision`, which lies in the window.
    pub fn rewind(&self, current: &State, newest: Revision, revision: Revision) -> Rewind {
        let first = self.groups.partition_point(|group| group.revision <= revision);
        let mut rewind = Rewind { start: current.clone(), undo: Vec::new(), from: newest, to: revision };
        for group in self.groups.range(first..) {
            rewind.undo.extend(group.parts.iter().map(|part| part.events.clone()));
            if let Some(anchor) = &group.anchor {
                (rewind.start, rewind.from) = (anchor.clone(), group.revision);
                break;
            }
        }
        rewind.undo.reverse();
        rewind
    }
}

impl Rewind {
    pub fn run(self) -> State {
        let Rewind { start: mut state, undo, from, to } = self;
        // Parts of one group may come in any order: they are of different resources.
        for event in undo.iter().flat_map(|events| events.iter().rev()) {
            debug_assert!(event.revision <= from);
            if event.revision > to {
                match &event.previous {
                    Some(previous) => drop(state.put(previous.clone())),
                    None => drop(state.remove(&event.entry.key)),
                }
            }
        }
        state
    }
}

/// Bytes that would be free if the event were forgotten.
pub(crate) fn held_bytes(event: &Event) -> usize {
    let previous = event.previous.as_ref().map_or(0, |entry| entry.json.len());
    let last = if event.deleted { event.entry.json.len() } else { 0 };
    previous + last + EVENT_OVERHEAD
}
