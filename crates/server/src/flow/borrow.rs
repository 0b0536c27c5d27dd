//! Who lends seats to whom: each level gets between what it must keep and what it may have, in proportion to what it
//! lately wanted (KEP 1040, "Dispatching"; `flowcontrol/conc_alloc.go`).

use std::sync::Arc;

use tokio::time::Instant;

use super::demand::Statistics;
use super::level::Level;
use super::settings::Settings;

/// Halvings of the interval in which the proportion lies: more than a seat's worth of precision.
const STEPS: usize = 64;
/// Nobody wants nothing at all, or there would be no proportion.
const MIN_TARGET: f64 = 0.001;

/// One level's bounds and wish.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    lower: f64,
    upper: f64,
    target: f64,
}

/// Sets every level's seats anew; true when nobody waits and all have their own again.
pub fn adjust(levels: &[Arc<Level>]) -> bool {
    let (limited, items, total) = read(levels);
    let quiet = limited.iter().all(|level| level.waiting_now() == 0 && level.taken_now() <= level.settings().min);
    if quiet {
        limited.iter().for_each(|level| level.set_limit(level.settings().nominal));
        return true;
    }
    for (level, seats) in limited.iter().zip(allocate(total, &items)) {
        level.set_limit(seats.round() as usize);
    }
    false
}

/// All levels that have limits, and the seats they have together.
fn read(levels: &[Arc<Level>]) -> (Vec<&Arc<Level>>, Vec<Item>, f64) {
    let limited: Vec<_> = levels.iter().filter(|level| !level.settings().exempt).collect();
    let total: usize = limited.iter().map(|level| level.settings().nominal).sum();
    let now = Instant::now();
    let items = limited.iter().map(|level| Item::of(&level.settings(), level.demand(now))).collect();
    (limited, items, total as f64)
}

impl Item {
    fn share(&self, proportion: f64) -> f64 {
        (self.target * proportion).clamp(self.lower, self.upper)
    }

    fn of(settings: &Settings, demand: Statistics) -> Self {
        let lower = settings.min.max(settings.nominal.min(demand.most)) as f64;
        Self { lower, upper: (settings.max as f64).max(lower), target: lower.max(demand.smoothed).max(MIN_TARGET) }
    }
}

/// The seats meant for a level before all must fit.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: Arc<str>,
    pub target: f64,
}

/// Of all levels that have limits, with the proportion in which they would get them.
pub fn wishes(levels: &[Arc<Level>]) -> (Vec<Wish>, f64) {
    let (limited, items, total) = read(levels);
    let wish = |(level, item): (&&Arc<Level>, &Item)| Wish { name: level.name.clone(), target: item.target };
    (limited.iter().zip(&items).map(wish).collect(), proportion(total, &items))
}

/// `target` times one proportion for all, within each one's bounds, so that the sum is `total`.
fn allocate(total: f64, items: &[Item]) -> Vec<f64> {
    let proportion = proportion(total, items);
    items.iter().map(|item| item.share(proportion)).collect()
}

fn proportion(total: f64, items: &[Item]) -> f64 {
    let (mut low, mut high) = (0.0, total / MIN_TARGET);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if items.iter().map(|item| item.share(middle)).sum::<f64>() < total { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flow::asked::Asked;
    use crate::flow::demand::next_end;
    use crate::flow::metrics::Tallies;
    use crate::flow::schema::Distinguisher;
    use crate::flow::width::Width;
    use crate::request::RequestInfo;

    #[test]
    fn seats_go_where_they_are_wanted() {
        let item = |lower: f64, upper: f64, target: f64| Item { lower, upper, target };
        let rounded =
            |total: f64, items: &[Item]| -> Vec<f64> { allocate(total, items).iter().map(|n| n.round()).collect() };
        assert_eq!(rounded(100.0, &[item(0.0, 100.0, 30.0), item(0.0, 100.0, 10.0)]), [75.0, 25.0]);
        assert_eq!(rounded(100.0, &[item(50.0, 100.0, 50.0), item(0.0, 30.0, 60.0)]), [70.0, 30.0]);
        assert_eq!(rounded(100.0, &[item(90.0, 100.0, 90.0), item(10.0, 100.0, 10.0)]), [90.0, 10.0]);
        assert_eq!(rounded(10.0, &[item(0.0, 10.0, MIN_TARGET), item(0.0, 10.0, MIN_TARGET)]), [5.0, 5.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_wanted_in_the_last_period_decides() {
        let start = Instant::now();
        let level = |name: &str, waits: bool| {
            let object = serde_json::json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1,
                "lendablePercent": 50, "limitResponse": {"type": if waits { "Queue" } else { "Reject" }}}}});
            let level = Arc::new(Level::new(name, start));
            level.set(Settings::read(&object, 20, 2));
            level
        };
        let levels = [level("busy", true), level("idle", false)];
        let info = Arc::new(RequestInfo::default());
        let asked = Asked {
            user: Arc::default(),
            tally: Tallies::new(&"s".into(), &"busy".into()).of(&info).clone(),
            info,
            distinguisher: Distinguisher::Nothing,
            width: Width { seats: 10, ..Width::ONE },
            arrived: start,
        };
        let held = levels[0].try_enter(asked.clone());
        let waiting = levels[0].wait(1, asked, Duration::from_secs(15));
        let limits = || levels.each_ref().map(|level| level.figures().limit);
        let (served, ()) = tokio::join!(waiting, async {
            tokio::time::sleep_until(next_end(start, Instant::now())).await;
            assert_eq!(limits(), [10, 10]);
            assert!(!adjust(&levels));
            assert_eq!(limits(), [15, 5]);
            drop(held);
        });
        assert_eq!(levels[0].figures().demand.most, 20);
        drop(served);
        assert!(adjust(&levels));
        assert_eq!(limits(), [10, 10]);
    }
}
