//! Which pod is next, and who waits for what.
//!
//! A pod is in one place: **active** (to be tried, most important first), **backing off** (tried and
//! failed lately), **waiting** (nothing has happened that could help it) or **gated**. A pod that was
//! rejected, and that an event may have helped, backs off only while others are active (KEP-5142).
//! Time comes in as an argument; nothing here sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orlop_base::backoff::Backoff;
use tokio::time::Instant;

use crate::framework::{Plugin, Wake};
use crate::pod::{PodInfo, is_gated};

/// Wait after a failed try (upstream's `PodInitialBackoffSeconds`, `PodMaxBackoffSeconds`).
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(10) };

/// After this long a waiting pod is tried again even if no event spoke for it.
const WAITING_MAX: Duration = Duration::from_secs(5 * 60);

/// Most important first, then oldest in the queue, then by key.
type Rank = (std::cmp::Reverse<i32>, u64, String);

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    /// Order of arrival; kept across tries.
    arrival: u64,
    failures: u32,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Active,
    /// Being tried, or on the way to its node: the entry stays for the result.
    Tried,
    /// Rejected and woken since.
    BackingOff(Instant),
    /// Trying it broke: rest is what helps.
    Failing(Instant),
    Waiting {
        plugins: BTreeSet<&'static str>,
        since: Instant,
        backoff_until: Instant,
    },
    Gated,
}

/// See the module. Everything that is asked at every decision has an index of its own: pods that wait may be many.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<String, Entry>,
    active: BTreeSet<Rank>,
    backing_off: BTreeSet<(Instant, u64, String)>,
    waiting: BTreeSet<String>,
    /// When a place is left without an event.
    due: BTreeSet<(Instant, String)>,
    arrivals: u64,
}

impl Queue {
    /// A new or changed pod. A change may be what it waited for.
    pub fn put(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let (key, gated) = (pod.key(), is_gated(&pod.pod));
        let Some(mut entry) = self.take(&key) else {
            self.arrivals += 1;
            let place = if gated { Place::Gated } else { Place::Active };
            self.insert(key, Entry { pod, arrival: self.arrivals, failures: 0, place });
            return;
        };
        let changed = entry.pod.pod.spec != pod.pod.spec || entry.pod.pod.metadata.labels != pod.pod.metadata.labels;
        entry.pod = pod;
        entry.place = match entry.place {
            _ if gated => Place::Gated,
            Place::Waiting { backoff_until, .. } if changed => after(backoff_until, now),
            Place::Gated => Place::Active,
            same => same,
        };
        self.insert(key, entry);
    }

    pub fn remove(&mut self, key: &str) {
        self.take(key);
    }

    /// The next pod to try; it stays known until [`Queue::remove`] or [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        self.release_due(now);
        let first = self.active.first().map(|(_, _, key)| key);
        // Or the one whose back-off ends first.
        let key = first.or_else(|| self.backing_off.first().map(|(_, _, key)| key))?.clone();
        self.change(&key, |entry| entry.place = Place::Tried);
        self.entries.get(&key).map(|entry| entry.pod.clone())
    }

    /// The pod fits nowhere: it waits for an event that one of these plugins wakes on.
    pub fn failed(&mut self, key: &str, plugins: BTreeSet<&'static str>, now: Instant) {
        self.put_off(key, now, |backoff_until| Place::Waiting { plugins, since: now, backoff_until });
    }

    /// Trying failed for a passing reason: again after a while.
    pub fn retry(&mut self, key: &str, now: Instant) {
        self.put_off(key, now, Place::Failing);
    }

    fn put_off(&mut self, key: &str, now: Instant, place: impl FnOnce(Instant) -> Place) {
        self.change(key, |entry| {
            entry.failures += 1;
            entry.place = place(now + BACKOFF.delay(entry.failures));
        });
    }

    /// Something changed in the cluster.
    pub fn wake(&mut self, event: Wake, plugins: &[&'static Plugin], now: Instant) {
        let helped: BTreeSet<&str> = plugins.iter().filter(|p| p.wakes_on.contains(&event)).map(|p| p.name).collect();
        let backoff_of = |key: &String| match &self.entries.get(key)?.place {
            // A pod that no plugin rejected found no node at all: anything may help.
            Place::Waiting { plugins, backoff_until, .. }
                if plugins.is_empty() || plugins.iter().any(|name| helped.contains(name)) =>
            {
                Some((key.clone(), *backoff_until))
            }
            _ => None,
        };
        let woken: Vec<(String, Instant)> = self.waiting.iter().filter_map(backoff_of).collect();
        for (key, backoff_until) in woken {
            self.change(&key, |entry| entry.place = after(backoff_until, now));
        }
    }

    /// When [`Queue::pop`] could find more than now.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Pods per place, for the `scheduler_pending_pods` metric: active, backoff, unschedulable, gated.
    pub fn pending(&self) -> [(&'static str, usize); 4] {
        let count = |of: fn(&Place) -> bool| self.entries.values().filter(|e| of(&e.place)).count();
        [
            ("active", count(|p| matches!(p, Place::Active))),
            ("backoff", count(|p| matches!(p, Place::BackingOff(_) | Place::Failing(_)))),
            ("unschedulable", count(|p| matches!(p, Place::Waiting { .. }))),
            ("gated", count(|p| matches!(p, Place::Gated))),
        ]
    }

    fn release_due(&mut self, now: Instant) {
        while let Some((_, key)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            self.change(&key, |entry| entry.place = Place::Active);
        }
    }

    fn change(&mut self, key: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.take(key) {
            change(&mut entry);
            self.insert(key.to_owned(), entry);
        }
    }

    fn take(&mut self, key: &str) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(due) = entry.place.due() {
            self.due.remove(&(due, key.to_owned()));
        }
        let _ = match entry.place {
            Place::Active => self.active.remove(&entry.rank(key)),
            Place::BackingOff(until) => self.backing_off.remove(&(until, entry.arrival, key.to_owned())),
            Place::Waiting { .. } => self.waiting.remove(key),
            Place::Tried | Place::Failing(_) | Place::Gated => false,
        };
        Some(entry)
    }

    fn insert(&mut self, key: String, entry: Entry) {
        if let Some(due) = entry.place.due() {
            self.due.insert((due, key.clone()));
        }
        let _ = match entry.place {
            Place::Active => self.active.insert(entry.rank(&key)),
            Place::BackingOff(until) => self.backing_off.insert((until, entry.arrival, key.clone())),
            Place::Waiting { .. } => self.waiting.insert(key.clone()),
            Place::Tried | Place::Failing(_) | Place::Gated => false,
        };
        self.entries.insert(key, entry);
    }
}

impl Entry {
    fn rank(&self, key: &str) -> Rank {
        (std::cmp::Reverse(self.pod.priority), self.arrival, key.to_owned())
    }
}

impl Place {
    fn due(&self) -> Option<Instant> {
        match self {
            Self::BackingOff(until) | Self::Failing(until) => Some(*until),
            Self::Waiting { since, .. } => Some(*since + WAITING_MAX),
            Self::Active | Self::Tried | Self::Gated => None,
        }
    }
}

fn after(until: Instant, now: Instant) -> Place {
    if until <= now { Place::Active } else { Place::BackingOff(until) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::PLUGINS;
    use crate::testing::pod_info;

    fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
        Arc::new(pod_info(
            json!({"metadata": {"namespace": "d", "name": name, "uid": name}, "spec": {"priority": priority, "containers": []}}),
        ))
    }

    fn popped(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|p| p.uid.clone()).collect()
    }

    #[test]
    fn importance_then_arrival_decide() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.put(pod(name, priority), now);
        }
        queue.remove("d/c");
        assert_eq!(popped(&mut queue, now), ["b", "d", "a"]);
    }

    #[test]
    fn a_rejected_pod_wakes_on_its_plugins_events() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        popped(&mut queue, now);
        queue.failed("d/a", ["NodeAffinity"].into(), now);
        let later = now + Duration::from_secs(2);
        queue.wake(Wake::PodRemoved, PLUGINS, later);
        assert!(popped(&mut queue, later).is_empty());
        queue.wake(Wake::NodeLabelsChanged, PLUGINS, now);
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(1)));
        queue.put(pod("b", -1), now);
        assert_eq!(popped(&mut queue, now), ["b", "a"], "back-off lasts while others are active");
        queue.failed("d/a", ["NodeAffinity"].into(), later);
        assert_eq!(popped(&mut queue, later + WAITING_MAX), ["a"], "never forgotten");
    }

    #[test]
    fn backoff_doubles_and_a_changed_spec_is_tried_again() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        for seconds in [1, 2, 4, 8, 10, 10] {
            assert_eq!(popped(&mut queue, now), ["a"]);
            queue.retry("d/a", now);
            assert_eq!(queue.next_due(), Some(now + Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
        }
        popped(&mut queue, now);
        queue.failed("d/a", ["NodeName"].into(), now);
        queue.put(pod("a", 0), now + Duration::from_secs(20));
        assert!(popped(&mut queue, now + Duration::from_secs(20)).is_empty(), "nothing changed");
        queue.put(pod("a", 1), now + Duration::from_secs(20));
        assert_eq!(popped(&mut queue, now + Duration::from_secs(20)), ["a"]);
    }

    #[test]
    fn a_pod_that_was_put_back_meanwhile_is_put_off_all_the_same() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        queue.retry("d/a", now);
        assert!(popped(&mut queue, now).is_empty());
    }

    #[test]
    fn gates_hold_a_pod() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let gated = json!({"metadata": {"namespace": "d", "name": "a", "uid": "a"},
            "spec": {"containers": [], "schedulingGates": [{"name": "g"}]}});
        queue.put(Arc::new(pod_info(gated)), now);
        assert!(popped(&mut queue, now).is_empty());
        assert_eq!(queue.pending()[3], ("gated", 1));
        queue.put(pod("a", 0), now);
        assert_eq!(popped(&mut queue, now), ["a"]);
    }
}
