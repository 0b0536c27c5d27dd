//! How many seats a request takes (`flowcontrol/request`): a list as many as it reads bytes for, a write some more for
//! a while where many watch.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use orlop_store::Store;

use super::metrics::Tally;
use super::queues::EXPECTED_SECONDS;
use crate::request::RequestInfo;

const BYTES_PER_SEAT: usize = 100_000;
/// Lists are sent as they are read; more is never in memory at once.
const MAX_LIST_BYTES: usize = 1_000_000;
/// Objects whose size stands for that of all.
const SAMPLE: usize = 16;
const WATCHES_PER_SEAT: usize = 10;
/// What telling one seat's watchers takes.
const EVENT_DURATION: Duration = Duration::from_millis(5);
/// No request takes more.
const MAX_LIST_SEATS: usize = 100;
const MAX_WRITE_SEATS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    pub seats: usize,
    /// After the answer, as many seats are taken for this long.
    pub extra: Duration,
    pub final_seats: usize,
}

impl Width {
    pub const ONE: Self = Self { seats: 1, extra: Duration::ZERO, final_seats: 0 };

    /// The most it takes at once.
    pub fn most(self) -> usize {
        self.seats.max(self.final_seats)
    }

    /// Seat-seconds that it is expected to take.
    pub fn work(self) -> f64 {
        EXPECTED_SECONDS * self.seats as f64 + self.extra.as_secs_f64() * self.final_seats as f64
    }
}

/// `most` is what the level allows one request; how many watch what it writes is counted.
pub fn estimate(info: &RequestInfo, store: &Store, watchers: &Watchers, tally: &Tally, most: usize) -> Width {
    match &*info.verb {
        "list" | "watch" => {
            Width { seats: list_seats(info, store).clamp(1, most.clamp(1, MAX_LIST_SEATS)), ..Width::ONE }
        }
        "create" | "update" | "patch" | "delete"
            if !(info.resource == "serviceaccounts" && info.subresource == "token") =>
        {
            let watchers = watchers.of(&info.resource);
            tally.watched(watchers);
            after_write(watchers, most.min(MAX_WRITE_SEATS))
        }
        _ => Width::ONE,
    }
}

fn list_seats(info: &RequestInfo, store: &Store) -> usize {
    let from = info.query("resourceVersion").unwrap_or_default();
    let continues = info.verb == "watch" && !matches!(from, "" | "0") && !info.query_flag("sendInitialEvents");
    if continues || !info.name.is_empty() || !info.is_resource {
        return 1;
    }
    let snapshot = store.snapshot();
    let grouped;
    let key = match &*info.api_group {
        "" => &info.resource,
        group => {
            grouped = format!("{group}/{}", info.resource);
            &grouped
        }
    };
    let limit = info.query("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let sizes = snapshot.range(key, None, None).take(SAMPLE).map(|entry| entry.json.len());
    seats_of(snapshot.count(key, None), limit, sizes)
}

/// `sizes`: of some of the objects.
fn seats_of(stored: usize, limit: Option<usize>, sizes: impl Iterator<Item = usize>) -> usize {
    let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
    let read = limit.map_or(stored, |limit| stored.min(limit));
    let bytes = read.saturating_mul(bytes / count.max(1));
    bytes.min(MAX_LIST_BYTES).div_ceil(BYTES_PER_SEAT)
}

fn after_write(watchers: usize, most: usize) -> Width {
    if watchers < WATCHES_PER_SEAT {
        return Width::ONE;
    }
    let seats = watchers.div_ceil(WATCHES_PER_SEAT);
    let work = EVENT_DURATION * seats as u32;
    let final_seats = seats.min(most);
    Width { seats: 1, extra: work / final_seats as u32, final_seats }
}

/// Watches under way, by resource.
#[derive(Clone, Default)]
pub struct Watchers(Arc<RwLock<HashMap<String, usize>>>);

/// Counts a watch until it goes.
pub struct WatchGuard {
    watchers: Watchers,
    resource: String,
}

impl Watchers {
    pub fn add(&self, resource: &str) -> WatchGuard {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *all.entry(resource.to_owned()).or_default() += 1;
        WatchGuard { watchers: self.clone(), resource: resource.to_owned() }
    }

    fn of(&self, resource: &str) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(resource).copied().unwrap_or_default()
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let mut all = self.watchers.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.resource) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.resource);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_wide_as_their_bytes() {
        assert_eq!(seats_of(0, None, [].into_iter()), 0);
        assert_eq!(seats_of(150, None, [1000; 16].into_iter()), 2);
        assert_eq!(seats_of(150, Some(50), [1000; 16].into_iter()), 1);
        assert_eq!(seats_of(5, None, [100_000, 300_000].into_iter()), 10);
        assert_eq!(seats_of(1_000_000, None, [1000; 16].into_iter()), 10, "a list is sent as it is read");
    }

    #[test]
    fn writes_that_many_watch_are_wider_for_a_while() {
        let millis = |width: Width| (width.seats, width.final_seats, width.extra.as_millis());
        assert_eq!(millis(after_write(9, 10)), (1, 0, 0));
        assert_eq!(millis(after_write(10, 10)), (1, 1, 5));
        assert_eq!(millis(after_write(95, 10)), (1, 10, 5));
        assert_eq!(millis(after_write(1000, 10)), (1, 10, 50));
        let watchers = Watchers::default();
        let (one, two) = (watchers.add("pods"), watchers.add("pods"));
        assert_eq!(watchers.of("pods"), 2);
        drop((one, two));
        assert_eq!(watchers.of("pods"), 0);
    }
}
