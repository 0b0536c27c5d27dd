//! How many seats a level could use, period by period (`flowcontrol/fairqueuing/integrator.go`, `seatDemandStats`).
//!
//! A period that is over is summed up when somebody next looks or comes: nothing wakes for it.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks at who needs whose seats.
pub const PERIOD: Duration = Duration::from_secs(10);
/// What stays each period of a smoothed demand that is higher than what is wanted now: half in five minutes.
const SMOOTHING: f64 = 0.977;

#[derive(Clone, Debug)]
pub struct Demand {
    seats: i64,
    since: Instant,
    /// The period's end.
    until: Instant,
    /// The most at once in this period.
    most: i64,
    /// Over this period: seats, and their squares, by seconds.
    sum: f64,
    squares: f64,
    last: Statistics,
}

/// Of the period that was over last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// At once.
    pub most: usize,
    pub average: f64,
    pub deviation: f64,
    /// Goes up with average and deviation at once, and down slowly.
    pub smoothed: f64,
}

impl Demand {
    /// Periods are counted from `start`.
    pub fn new(start: Instant) -> Self {
        let last = Statistics::default();
        Self { seats: 0, since: start, until: start + PERIOD, most: 0, sum: 0.0, squares: 0.0, last }
    }

    pub fn add(&mut self, change: i64, now: Instant) {
        self.pass(now);
        self.seats += change;
        self.most = self.most.max(self.seats);
    }

    pub fn statistics(&mut self, now: Instant) -> Statistics {
        self.pass(now);
        self.last
    }

    fn pass(&mut self, now: Instant) {
        if now >= self.until {
            self.integrate(self.until);
            self.close(1);
            // Since then, nothing has changed.
            let more = (now - self.until).as_secs() / PERIOD.as_secs();
            self.until += PERIOD;
            if more > 0 {
                let whole = PERIOD * u32::try_from(more).unwrap_or(u32::MAX);
                self.integrate(self.since + PERIOD);
                self.close(i32::try_from(more).unwrap_or(i32::MAX));
                self.since = self.until + whole - PERIOD;
                self.until += whole;
            }
        }
        self.integrate(now);
    }

    fn integrate(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        let seats = self.seats as f64;
        self.sum += seats * seconds;
        self.squares += seats * seats * seconds;
        self.since = self.since.max(now);
    }

    /// Sums up as many periods as were alike.
    fn close(&mut self, alike: i32) {
        let average = self.sum / PERIOD.as_secs_f64();
        let deviation = (self.squares / PERIOD.as_secs_f64() - average * average).max(0.0).sqrt();
        let wanted = average + deviation;
        let above = (self.last.smoothed - wanted).max(0.0);
        let smoothed = wanted + above * SMOOTHING.powi(alike);
        self.last = Statistics { most: self.most.max(0) as usize, average, deviation, smoothed };
        (self.sum, self.squares, self.most) = (0.0, 0.0, self.seats);
    }
}

/// The end of the period that `now` is in.
pub fn next_end(start: Instant, now: Instant) -> Instant {
    let over = now.saturating_duration_since(start).as_secs() / PERIOD.as_secs();
    start + PERIOD * u32::try_from(over + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_summed_up_when_it_is_over() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        demand.add(4, at(0));
        demand.add(-4, at(5));
        assert_eq!(demand.statistics(at(9)), Statistics::default());
        let first = Statistics { most: 4, average: 2.0, deviation: 2.0, smoothed: 4.0 };
        assert_eq!(demand.statistics(at(10)), first);
        demand.add(1, at(10));
        let second = demand.statistics(at(20));
        assert_eq!((second.most, second.average, second.deviation), (1, 1.0, 0.0));
        assert!((second.smoothed - (1.0 + 3.0 * SMOOTHING)).abs() < 1e-9, "{second:?}");
    }

    #[test]
    fn periods_that_nobody_looked_at_count_as_much() {
        let start = Instant::now();
        let (mut watched, mut left) = (Demand::new(start), Demand::new(start));
        for demand in [&mut watched, &mut left] {
            demand.add(9, start + Duration::from_secs(3));
            demand.add(-7, start + Duration::from_secs(8));
        }
        let mut end = start;
        for _ in 0..20 {
            end = next_end(start, end);
            watched.statistics(end);
        }
        let (watched, left) = (watched.statistics(end), left.statistics(end));
        assert_eq!((left.most, left.average, left.deviation), (2, 2.0, 0.0));
        assert!((watched.smoothed - left.smoothed).abs() < 1e-9, "{watched:?} {left:?}");
        assert_eq!((watched.most, watched.average), (2, 2.0));
    }
}
