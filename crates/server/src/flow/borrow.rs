//! Who lends seats to whom: each level gets between what it must keep and what it may have, in proportion to what it
//! lately wanted (KEP 1040, "Dispatching"; `flowcontrol/conc_alloc.go`).

use std::sync::Arc;

use super::level::{Level, Settings};

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
    let limited: Vec<_> = levels.iter().filter(|level| !level.settings().exempt).collect();
    let total: usize = limited.iter().map(|level| level.settings().nominal).sum();
    let items: Vec<Item> = limited.iter().map(|level| Item::of(&level.settings(), level.take_demand())).collect();
    let quiet = limited.iter().all(|level| level.waiting_now() == 0 && level.figures().taken <= level.settings().min);
    if quiet {
        limited.iter().for_each(|level| level.set_limit(level.settings().nominal));
        return true;
    }
    for (level, seats) in limited.iter().zip(allocate(total as f64, &items)) {
        level.set_limit(seats.round() as usize);
    }
    false
}

impl Item {
    fn share(&self, proportion: f64) -> f64 {
        (self.target * proportion).clamp(self.lower, self.upper)
    }

    fn of(settings: &Settings, demand: usize) -> Self {
        let lower = settings.min.max(settings.nominal.min(demand)) as f64;
        Self { lower, upper: (settings.max as f64).max(lower), target: lower.max(demand as f64).max(MIN_TARGET) }
    }
}

/// What a level would get next: the most it lately wanted, and the seats meant for it before all must fit.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: Arc<str>,
    pub demand: usize,
    pub target: f64,
}

/// Of all levels that have limits, with the proportion in which they would get them.
pub fn wishes(levels: &[Arc<Level>]) -> (Vec<Wish>, f64) {
    let limited: Vec<_> = levels.iter().filter(|level| !level.settings().exempt).collect();
    let total: usize = limited.iter().map(|level| level.settings().nominal).sum();
    let items: Vec<Item> = limited.iter().map(|level| Item::of(&level.settings(), level.demand())).collect();
    let wishes = limited.iter().zip(&items).map(|(level, item)| Wish {
        name: level.name.clone(),
        demand: level.demand(),
        target: item.target,
    });
    (wishes.collect(), proportion(total as f64, &items))
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
    use super::*;

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
}
