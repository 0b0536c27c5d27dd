//! Subjects that wait to be decided about.
//!
//! A subject is in at most one of these states: ready, running, or neither; a wish to run while it
//! runs is remembered once. Delays (back-off, wake-ups) are one ordered set, so the engine sleeps
//! on a single timer, and on none when nothing is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orlop_base::backoff::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::view::{Failure, Key};
use crate::metrics::QueueMetrics;

/// client-go's `DefaultTypedControllerRateLimiter`: 5 ms doubling to 1000 s, per subject.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(5), max: Duration::from_secs(1000) };

/// The queue of one controller; clones share it.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    metrics: QueueMetrics,
}

#[derive(Default)]
struct State {
    subjects: BTreeMap<Key, Subject>,
    ready: VecDeque<Key>,
    delayed: BTreeSet<(Instant, Key)>,
}

/// What is remembered of a subject; forgotten when all of it is idle.
#[derive(Default)]
struct Subject {
    /// In `ready`, since then.
    ready_since: Option<Instant>,
    running_since: Option<Instant>,
    /// Wanted again while running.
    again: bool,
    failures: u32,
    /// Its entry in `delayed`.
    due: Option<Instant>,
    failure: Option<Failure>,
}

impl Subject {
    fn is_idle(&self) -> bool {
        self.ready_since.is_none() && self.running_since.is_none() && self.due.is_none() && self.failures == 0
    }
}

/// How a run ended.
pub(super) enum Outcome {
    /// Come back at that time, if any.
    Done { wake_at: Option<Instant> },
    /// Something failed: the failure is to be reported at once, the next try comes later.
    Failed(Failure),
    /// Not now; later, and later still if this repeats.
    Retry,
}

impl Queue {
    /// `name` as metrics show it.
    pub fn new(name: &'static str) -> Self {
        let metrics = QueueMetrics::new(name);
        let queue = Self(Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), metrics }));
        let shared = Arc::downgrade(&queue.0);
        metrics.running(move || {
            let queue = Self(shared.upgrade()?);
            let state = queue.state();
            Some(state.subjects.values().filter_map(|s| s.running_since).map(|since| since.elapsed()).collect())
        });
        queue
    }

    /// Wants `key` decided about, now.
    pub fn add(&self, key: Key) {
        let mut state = self.state();
        if state.make_ready(key) {
            self.0.metrics.added(state.ready.len());
            drop(state);
            self.0.changed.notify_one();
        }
    }

    /// Wants `key` decided about at `at`, or at the time already set if that is earlier.
    pub fn add_at(&self, key: Key, at: Instant) {
        self.state().delay(key, at);
        self.0.changed.notify_one();
    }

    /// The next subject to run, marked as running, with the failure it has yet to report.
    pub(super) fn take(&self) -> Option<(Key, Option<Failure>)> {
        let now = Instant::now();
        let mut state = self.state();
        state.promote(now);
        let key = state.ready.pop_front()?;
        let subject = state.subjects.get_mut(&key).expect("what is ready is known");
        let waited = subject.ready_since.take().map(|since| now - since).unwrap_or_default();
        subject.running_since = Some(now);
        let failure = subject.failure.take();
        self.0.metrics.taken(state.ready.len(), waited);
        Some((key, failure))
    }

    /// Ends the run of `key`.
    pub(super) fn finish(&self, key: Key, outcome: Outcome) {
        let now = Instant::now();
        let mut state = self.state();
        let subject = state.subjects.get_mut(&key).expect("what runs is known");
        let ran = subject.running_since.take().map(|since| now - since).unwrap_or_default();
        let again = std::mem::take(&mut subject.again);
        self.0.metrics.finished(ran);
        match outcome {
            Outcome::Done { wake_at } => {
                state.subject(&key).failures = 0;
                if let Some(at) = wake_at {
                    state.delay(key.clone(), at);
                }
                if again {
                    state.make_ready(key.clone());
                }
            }
            Outcome::Failed(failure) => {
                // Report first; `back_off` after that run.
                state.subject(&key).failure = Some(failure);
                state.make_ready(key.clone());
            }
            Outcome::Retry => {
                let subject = state.subject(&key);
                subject.failures = subject.failures.saturating_add(1);
                let at = now + BACKOFF.delay(subject.failures);
                state.delay(key.clone(), at);
                self.0.metrics.retried();
                if again {
                    state.make_ready(key.clone());
                }
            }
        }
        if state.subjects.get(&key).is_some_and(Subject::is_idle) {
            state.subjects.remove(&key);
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Returns when something may be ready. Keeps one timer only while something is delayed.
    pub(super) async fn wait(&self) {
        let due = self.state().delayed.first().map(|(at, _)| *at);
        let changed = self.0.changed.notified();
        match due {
            None => changed.await,
            Some(at) => {
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn subject(&mut self, key: &Key) -> &mut Subject {
        self.subjects.entry(key.clone()).or_default()
    }

    /// Whether it was added just now.
    fn make_ready(&mut self, key: Key) -> bool {
        let subject = self.subject(&key);
        if subject.running_since.is_some() {
            let first = !subject.again;
            subject.again = true;
            return first;
        }
        if subject.ready_since.is_some() {
            return false;
        }
        subject.ready_since = Some(Instant::now());
        if let Some(due) = subject.due.take() {
            self.delayed.remove(&(due, key.clone()));
        }
        self.ready.push_back(key);
        true
    }

    /// Makes `key` due at `at`, unless it is due earlier.
    fn delay(&mut self, key: Key, at: Instant) {
        let subject = self.subject(&key);
        if subject.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(before) = subject.due.replace(at) {
            self.delayed.remove(&(before, key.clone()));
        }
        self.delayed.insert((at, key));
    }

    /// Moves what is due to `ready`.
    fn promote(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.delayed.pop_first()
        {
            self.subject(&key).due = None;
            self.make_ready(key);
        }
    }
}
