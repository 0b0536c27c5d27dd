//! Scaling: when only the number of wanted pods changed, or nothing may be rolled out (paused).
//! Sets grow and shrink in proportion, so that a rollout in the middle stays in the middle.

use std::cmp::Reverse;

use orlop_client::engine::Plan;

use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS, set_sizes};
use super::rollout::Rollout;

impl Rollout<'_> {
    /// Whether the Deployment was scaled since its active sets were last sized.
    pub fn was_scaled(&self) -> bool {
        let active = self.sets.iter().filter(|set| set.replicas_seen() > 0);
        active.filter_map(|set| count(set.annotation(DESIRED_REPLICAS))).any(|desired| desired != self.replicas())
    }

    /// A paused Deployment rolls nothing out: its sets are sized, its history is bounded, its pods are counted.
    pub fn hold(mut self) -> Plan {
        self.size_sets();
        self.clean_up();
        self.finish_counting()
    }

    /// Whether there was anything to size. The sets may say that they were sized for another number and yet be of
    /// the right one: the rollout goes on then, or it never would.
    pub fn size_sets(&mut self) -> bool {
        if let Some(only) = self.active_or_latest() {
            return self.resize(only, self.replicas());
        }
        if self.is_saturated() {
            let old: Vec<usize> = self.old().collect();
            return old.into_iter().fold(false, |sized, at| self.resize(at, 0) | sized);
        }
        self.is_rolling() && self.scale_proportionally()
    }

    /// The only active set, or the newest if none is; `None` when several are active.
    fn active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> = (0..self.sets.len()).filter(|at| self.sets[*at].replicas_seen() > 0).collect();
        match active[..] {
            [] => self.new.or_else(|| self.old().next_back()),
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether the new set has all pods, and both sides think it should.
    fn is_saturated(&self) -> bool {
        let Some(new) = self.new.map(|at| &self.sets[at]) else { return false };
        new.replicas() == self.replicas()
            && count(new.annotation(DESIRED_REPLICAS)) == Some(self.replicas())
            && new.available() == self.replicas()
    }

    fn scale_proportionally(&mut self) -> bool {
        let mut active: Vec<usize> = (0..self.sets.len()).filter(|at| self.sets[*at].replicas_seen() > 0).collect();
        let total: i32 = active.iter().map(|at| self.sets[*at].replicas_seen()).sum();
        let allowed = if self.replicas() > 0 { self.replicas() + self.max_surge() } else { 0 };
        let to_add = allowed - total;
        // Larger sets first; of equal ones the newer grows and the older shrinks first.
        let size = |at: usize| Reverse(self.sets[at].replicas_seen());
        if to_add > 0 {
            active.sort_by_cached_key(|at| (size(*at), Reverse(self.sets[*at].age_key())));
        } else {
            active.sort_by_cached_key(|at| (size(*at), self.sets[*at].age_key()));
        }
        let mut sizes = Vec::with_capacity(active.len());
        let mut added = 0;
        for at in &active {
            let share = self.share(*at, to_add, added);
            sizes.push(self.sets[*at].replicas_seen() + share);
            added += share;
        }
        // What rounding left over is the largest set's.
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        let sizes = active.into_iter().zip(sizes);
        sizes.fold(false, |sized, (at, size)| self.resize_or_annotate(at, size) | sized)
    }

    /// How many of `to_add` go to this set, when `added` have been given out.
    fn share(&self, at: usize, to_add: i32, added: i32) -> i32 {
        if to_add == 0 || to_add == added {
            return 0;
        }
        let (fraction, left) = (self.fraction(at), to_add - added);
        if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
    }

    /// By how much this set would change if it alone followed the Deployment.
    fn fraction(&self, at: usize) -> i32 {
        let set = &self.sets[at];
        let size = set.replicas_seen();
        if self.replicas() == 0 {
            return -size;
        }
        let recorded = count(set.annotation(MAX_REPLICAS)).filter(|n| *n != 0);
        let before = recorded.or(self.seen.status.as_ref().and_then(|s| s.replicas)).unwrap_or(0);
        if before == 0 {
            // Nobody knows what it was sized for.
            return 0;
        }
        let wanted = f64::from(self.replicas() + self.max_surge());
        let share = f64::from(size) * wanted / f64::from(before);
        share.round() as i32 - size
    }

    /// Sets the wanted pods of a set; whether that changes anything.
    pub fn resize(&mut self, at: usize, size: i32) -> bool {
        self.sets[at].replicas() != size && self.resize_or_annotate(at, size)
    }

    fn resize_or_annotate(&mut self, at: usize, size: i32) -> bool {
        let (desired, max) = (self.replicas(), self.replicas() + self.max_surge());
        let mut probe = self.sets[at].object().clone();
        let changed = set_sizes(&mut probe, desired, max) | (self.sets[at].replicas() != size);
        if changed {
            probe.spec.replicas = Some(size);
            *self.touch(at) = probe;
        }
        changed
    }
}

/// A non-negative count in an annotation.
fn count(annotation: Option<&str>) -> Option<i32> {
    annotation?.parse().ok().filter(|n| *n >= 0)
}
