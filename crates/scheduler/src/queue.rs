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

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<String, Entry>,
    active: BTreeSet<Rank>,
    arrivals: u64,
}

impl Queue {
    /// A new or changed pod. A change may be what it waited for.
    pub fn put(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let key = pod.key();
        let gated = is_gated(&pod.pod);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.arrivals += 1;
            let place = if gated { Place::Gated } else { Place::Active };
            self.entries.insert(key.clone(), Entry { pod, arrival: self.arrivals, failures: 0, place });
            self.sort_in(&key);
            return;
        };
        let changed = entry.pod.pod.spec != pod.pod.spec || entry.pod.pod.metadata.labels != pod.pod.metadata.labels;
        self.active.remove(&rank(&key, entry));
        entry.pod = pod;
        entry.place = match std::mem::replace(&mut entry.place, Place::Active) {
            _ if gated => Place::Gated,
            Place::Waiting { backoff_until, .. } if changed => after(backoff_until, now),
            Place::Gated => Place::Active,
            same => same,
        };
        self.sort_in(&key);
    }

    pub fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.active.remove(&rank(key, &entry));
        }
    }

    /// The next pod to try; it stays known until [`Queue::remove`] or [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        self.release_due(now);
        let key = match self.active.pop_first() {
            Some((_, _, key)) => key,
            None => self.first_backing_off()?,
        };
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::Tried;
        Some(entry.pod.clone())
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
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.active.remove(&rank(key, entry));
        entry.failures += 1;
        entry.place = place(now + BACKOFF.delay(entry.failures));
    }

    /// Something changed in the cluster.
    pub fn wake(&mut self, event: Wake, plugins: &[&'static Plugin], now: Instant) {
        let helped: BTreeSet<&str> = plugins.iter().filter(|p| p.wakes_on.contains(&event)).map(|p| p.name).collect();
        let mut moved = Vec::new();
        for (key, entry) in &mut self.entries {
            if let Place::Waiting { plugins, backoff_until, .. } = &entry.place {
                // A pod that no plugin rejected found no node at all: anything may help.
                if plugins.is_empty() || plugins.iter().any(|name| helped.contains(name)) {
                    entry.place = after(*backoff_until, now);
                    moved.push(key.clone());
                }
            }
        }
        moved.iter().for_each(|key| self.sort_in(key));
    }

    /// When [`Queue::pop`] could find more than now.
    pub fn next_due(&self) -> Option<Instant> {
        let due = |entry: &Entry| match &entry.place {
            Place::BackingOff(until) | Place::Failing(until) => Some(*until),
            Place::Waiting { since, .. } => Some(*since + WAITING_MAX),
            Place::Active | Place::Tried | Place::Gated => None,
        };
        self.entries.values().filter_map(due).min()
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
        let is_due = |entry: &Entry| match &entry.place {
            Place::BackingOff(until) | Place::Failing(until) => *until <= now,
            Place::Waiting { since, .. } => *since + WAITING_MAX <= now,
            Place::Active | Place::Tried | Place::Gated => false,
        };
        let due: Vec<String> = self.entries.iter().filter(|(_, e)| is_due(e)).map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.place = Place::Active;
            }
            self.sort_in(&key);
        }
    }

    /// The one whose back-off ends first.
    fn first_backing_off(&self) -> Option<String> {
        let until = |entry: &Entry| match entry.place {
            Place::BackingOff(until) => Some(until),
            _ => None,
        };
        let backing_off = self.entries.iter().filter_map(|(key, entry)| Some((until(entry)?, entry.arrival, key)));
        backing_off.min().map(|(_, _, key)| key.clone())
    }

    fn sort_in(&mut self, key: &str) {
        if let Some(entry) = self.entries.get(key).filter(|e| e.place == Place::Active) {
            self.active.insert(rank(key, entry));
        }
    }
}

fn rank(key: &str, entry: &Entry) -> Rank {
    (std::cmp::Reverse(entry.pod.priority), entry.arrival, key.to_owned())
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
