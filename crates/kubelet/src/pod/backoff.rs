//! Waiting longer after each failure, per container (`k8s.io/client-go/util/flowcontrol`).

use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000_000;

/// Doubling waits by key, in nanoseconds of wall time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackoffTable {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    wait_nanos: i64,
    updated_nanos: i64,
}

/// Initial wait, longest wait, and how quiet a key must be to be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct BackoffPolicy {
    pub initial_nanos: i64,
    pub max_nanos: i64,
    pub forget_nanos: i64,
}

/// Restarts: 10 s doubling to 300 s, forgotten after a run of 600 s.
pub const CRASH_LOOP: BackoffPolicy =
    BackoffPolicy { initial_nanos: 10 * SECOND, max_nanos: 300 * SECOND, forget_nanos: 600 * SECOND };

/// Image pulls: the same, forgotten after twice the longest wait.
pub const IMAGE_PULL: BackoffPolicy =
    BackoffPolicy { initial_nanos: 10 * SECOND, max_nanos: 300 * SECOND, forget_nanos: 600 * SECOND };

impl BackoffTable {
    /// Is `key` still waiting at `now`, counting from `since`? Then until when, and how long in all.
    pub fn waiting(&self, key: &str, since: i64, now: i64, policy: BackoffPolicy) -> Option<Waiting> {
        let entry = self.entries.get(key)?;
        if since - entry.updated_nanos > policy.forget_nanos {
            return None;
        }
        let until = since.saturating_add(entry.wait_nanos);
        (now < until).then_some(Waiting { until_nanos: until, wait_nanos: entry.wait_nanos })
    }

    /// As [`Self::waiting`], counting from the last failure.
    pub fn waiting_since_update(&self, key: &str, now: i64, policy: BackoffPolicy) -> Option<Waiting> {
        let since = self.entries.get(key)?.updated_nanos;
        self.waiting(key, since, now, policy)
    }

    /// Another try after an event at `event`: the next wait is the double.
    pub fn next(&mut self, key: &str, event: i64, now: i64, policy: BackoffPolicy) {
        let wait_nanos = match self.entries.get(key) {
            Some(entry) if event - entry.updated_nanos <= policy.forget_nanos => {
                entry.wait_nanos.saturating_mul(2).min(policy.max_nanos)
            }
            _ => policy.initial_nanos,
        };
        self.entries.insert(key.to_owned(), Entry { wait_nanos, updated_nanos: now });
    }

    /// The table is per pod and keyed by container and image, so that it is bounded by the spec.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|key, _| keep(key));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub until_nanos: i64,
    pub wait_nanos: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_10_20_40_up_to_300_and_forget_after_ten_quiet_minutes() {
        let mut table = BackoffTable::default();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let exit = now;
            let until = table.waiting("a", exit, now, CRASH_LOOP).map(|w| w.until_nanos);
            now = until.unwrap_or(now);
            waits.push((now - exit) / SECOND);
            table.next("a", exit, now, CRASH_LOOP);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        let quiet = now + 601 * SECOND;
        assert_eq!(table.waiting("a", quiet, quiet, CRASH_LOOP), None);
    }
}
