//! Revisions: numbers on sets that order a Deployment's history, and the annotations they live in.

use orlop_api::typed::kinds::{Deployment, ReplicaSet};

use super::rollout::{Rollout, Set};

pub const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What the Deployment wanted in all when this set was last sized: tells scaling from rolling out.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge: the base of proportional scaling.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// About 100 revisions.
const MAX_HISTORY_BYTES: usize = 2000;

/// Annotations that are a set's own or the Deployment's own.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    ROLLBACK_TO,
];

pub fn is_copied(annotation: &str) -> bool {
    !NOT_COPIED.contains(&annotation)
}

/// `None` when it is no number; a set without one counts as 0.
pub fn of(set: &ReplicaSet) -> Option<i64> {
    match set.metadata.annotations.as_ref().and_then(|a| a.get(REVISION)) {
        Some(text) => text.parse().ok(),
        None => Some(0),
    }
}

/// The highest.
pub fn max<'a>(sets: impl Iterator<Item = &'a Set>) -> i64 {
    sets.filter_map(|set| of(&set.seen)).max().unwrap_or(0).max(0)
}

/// The second highest: what was before the newest; 0 when there is none.
pub fn last<'a>(sets: impl Iterator<Item = &'a Set>) -> i64 {
    let (mut max, mut second) = (0, 0);
    for revision in sets.filter_map(|set| of(set.object())) {
        if revision >= max {
            (second, max) = (max, revision);
        } else if revision > second {
            second = revision;
        }
    }
    second
}

impl Rollout<'_> {
    /// Gives the new set, if there is one, the highest revision and the Deployment's annotations,
    /// and the Deployment that revision.
    pub fn sync_revision(&mut self) {
        let Some(at) = self.new else { return };
        let revision = max(self.old().map(|i| &self.sets[i])) + 1;
        let mut set = (*self.sets[at].seen).clone();
        let annotated = annotate(self.seen, &mut set, revision);
        let min_ready = self.seen.spec.min_ready_seconds.unwrap_or(0);
        if annotated || set.spec.min_ready_seconds.unwrap_or(0) != min_ready {
            set.spec.min_ready_seconds = self.seen.spec.min_ready_seconds;
            *self.touch(at) = set;
        }
        let revision = self.sets[at].annotation(REVISION).unwrap_or_default().to_owned();
        self.annotations.insert(REVISION.to_owned(), revision);
        self.note_found_set(at);
    }
}

/// Copies the Deployment's annotations and raises the revision; remembers the one before, since a
/// set with an older revision is one that is rolled back to. Whether anything changed.
pub fn annotate(deployment: &Deployment, set: &mut ReplicaSet, revision: i64) -> bool {
    let mut changed = false;
    let annotations = set.metadata.annotations.get_or_insert_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten().filter(|(key, _)| is_copied(key)) {
        if annotations.get(key) != Some(value) {
            annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    let old = annotations.get(REVISION).cloned();
    let Ok(before) = old.as_deref().filter(|o| !o.is_empty()).map_or(Ok(0), str::parse::<i64>) else { return false };
    if before >= revision {
        return changed;
    }
    annotations.insert(REVISION.to_owned(), revision.to_string());
    if let Some(old) = old {
        let history = annotations.remove(REVISION_HISTORY).unwrap_or_default();
        annotations.insert(REVISION_HISTORY.to_owned(), remember(&history, &old));
    }
    true
}

/// `history` with `revision` at its end, and without as many at its start as make it fit.
fn remember(history: &str, revision: &str) -> String {
    if history.is_empty() {
        return revision.to_owned();
    }
    let mut kept = history;
    while kept.len() + 1 + revision.len() > MAX_HISTORY_BYTES {
        match kept.split_once(',') {
            Some((_, rest)) => kept = rest,
            None => return history.to_owned(),
        }
    }
    format!("{kept},{revision}")
}

/// Records what the Deployment wants on the set. Whether anything changed.
pub fn set_sizes(set: &mut ReplicaSet, desired: i32, max: i32) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, count) in [(DESIRED_REPLICAS, desired), (MAX_REPLICAS, max)] {
        let count = count.to_string();
        changed |= annotations.insert(key.to_owned(), count.clone()) != Some(count);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded() {
        assert_eq!(remember("", "1"), "1");
        assert_eq!(remember("1,2", "3"), "1,2,3");
        let long = vec!["123456"; 285].join(",");
        let longer = remember(&long, "9999");
        assert!(longer.len() <= MAX_HISTORY_BYTES && longer.ends_with(",9999"), "{}", longer.len());
    }
}
