//! What a level's requests take and want, over time.

use tokio::time::Instant;

use super::demand::Demand;
use super::timing::Course;

pub const WANTED_BOUNDS: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];
/// The last two tell a level that is nearly full from one that is.
pub const SEAT_BOUNDS: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
pub const REQUEST_BOUNDS: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];

#[derive(Clone, Debug)]
pub struct Usage {
    pub demand: Demand,
    /// Seats in use or waited for, as a share of those there are.
    pub wanted: Course,
    pub seats: Course,
    pub executing: Course,
    /// As a share of those who may wait.
    pub waiting: Course,
}

impl Usage {
    pub fn new(start: Instant) -> Self {
        Self {
            demand: Demand::new(start),
            wanted: Course::new(WANTED_BOUNDS),
            seats: Course::new(SEAT_BOUNDS),
            executing: Course::new(REQUEST_BOUNDS),
            waiting: Course::new(REQUEST_BOUNDS),
        }
    }

    /// The level has so many seats, and room for so many to wait.
    pub fn of(&mut self, seats: usize, room: usize) {
        let now = Instant::now();
        for course in [&mut self.wanted, &mut self.seats, &mut self.executing] {
            course.of(seats, now);
        }
        self.waiting.of(room, now);
    }

    pub fn queued(&mut self, seats: usize, now: Instant) {
        self.want(seats as i64, now);
        self.waiting.add(1, now);
    }

    pub fn gave_up(&mut self, seats: usize) {
        let now = Instant::now();
        self.want(-(seats as i64), now);
        self.waiting.add(-1, now);
    }

    /// A request is being served, at once or after it was `queued`.
    pub fn began(&mut self, seats: usize, queued: bool, now: Instant) {
        if queued {
            self.waiting.add(-1, now);
        } else {
            self.want(seats as i64, now);
        }
        self.seats.add(seats as i64, now);
        self.executing.add(1, now);
    }

    /// It is answered; its seats may still be taken.
    pub fn answered(&mut self, now: Instant) {
        self.executing.add(-1, now);
    }

    pub fn released(&mut self, seats: usize) {
        let now = Instant::now();
        self.want(-(seats as i64), now);
        self.seats.add(-(seats as i64), now);
    }

    fn want(&mut self, change: i64, now: Instant) {
        self.demand.add(change, now);
        self.wanted.add(change, now);
    }
}
