//! RollingUpdate: new pods as room allows, old pods away as new ones become available.

use orlop_client::engine::{Plan, View, Write};

use super::revision;
use super::rollout::Rollout;

impl Rollout<'_> {
    pub fn roll(mut self, view: &View) -> Plan {
        if !self.ensure_new(view) {
            return self.finish_progressing();
        }
        let new = self.new.expect("made or found above");
        if !self.grow_new(new) && !self.shrink_old(new) && self.is_complete(&self.status_seen()) {
            self.clean_up();
        }
        self.finish_progressing()
    }

    /// Whether the new set was resized.
    fn grow_new(&mut self, new: usize) -> bool {
        let (size, wanted) = (self.sets[new].replicas(), self.replicas());
        let target = if size > wanted { wanted } else { self.new_size(new) };
        self.resize(new, target);
        target != size
    }

    /// How many pods the new set may have now.
    pub fn new_size(&self, new: usize) -> i32 {
        let size = self.sets[new].replicas();
        if !self.is_rolling() {
            return self.replicas();
        }
        let room = self.replicas() + self.max_surge() - self.total_replicas();
        size + room.min(self.replicas() - size).max(0)
    }

    /// Whether any old set was resized.
    fn shrink_old(&mut self, new: usize) -> bool {
        let old: Vec<usize> = self.old().filter(|at| self.sets[*at].replicas_seen() > 0).collect();
        if old.is_empty() {
            return false;
        }
        let min_available = self.replicas() - self.max_unavailable();
        // Pods of the new set that do not work must not cost old ones that do.
        let new_unavailable = self.sets[new].replicas() - self.sets[new].available();
        let removable = self.total_replicas() - min_available - new_unavailable;
        if removable <= 0 {
            return false;
        }
        let unhealthy = self.remove_unhealthy(&old, removable);
        let healthy = self.remove_healthy(&old, min_available);
        unhealthy + healthy > 0
    }

    /// Unavailable old pods go first, or they would block the rollout (kubernetes#16737): a set that
    /// shrinks removes its unhealthy pods before others.
    fn remove_unhealthy(&mut self, old: &[usize], removable: i32) -> i32 {
        let mut removed = 0;
        for at in old {
            let size = self.sets[*at].replicas();
            let count = (removable - removed).min(size - self.sets[*at].available());
            if count > 0 {
                self.resize(*at, size - count);
                removed += count;
            }
        }
        removed
    }

    /// Available old pods go as far as enough stay available over all.
    fn remove_healthy(&mut self, old: &[usize], min_available: i32) -> i32 {
        let available: i32 = self.sets.iter().map(super::rollout::Set::available).sum();
        let removable = available - min_available;
        let mut removed = 0;
        for at in old {
            let size = self.sets[*at].replicas();
            let count = size.min(removable - removed);
            if count > 0 {
                self.resize(*at, size - count);
                removed += count;
            }
        }
        removed
    }

    /// Removes the oldest sets beyond the history limit that are quite empty.
    pub fn clean_up(&mut self) {
        let Some(limit) = self.seen.spec.revision_history_limit.filter(|n| *n != i32::MAX) else { return };
        let mut old: Vec<usize> =
            self.old().filter(|at| self.sets[*at].seen.metadata.deletion_timestamp.is_none()).collect();
        old.sort_by_cached_key(|at| (revision::of(&self.sets[*at].seen), self.sets[*at].age_key()));
        let surplus = old.len().saturating_sub(limit.try_into().unwrap_or(0));
        for at in old.into_iter().take(surplus) {
            let set = &self.sets[at].seen;
            let status = set.status.clone().unwrap_or_default();
            let seen_all = set.metadata.generation <= status.observed_generation;
            if status.replicas == 0 && self.sets[at].replicas() == 0 && seen_all {
                self.plan.write(Write::delete(&**set));
            }
        }
    }
}
