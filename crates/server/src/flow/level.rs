//! A priority level: so many seats, and what becomes of requests that find none free.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::asked::{Asked, Served};
use super::demand::Statistics;
use super::metrics::{Rejection, Tally};
use super::queues::{Place, Queues};
use super::schema::FlowHash;
use super::settings::Settings;
use super::usage::Usage;

pub struct Level {
    pub name: Arc<str>,
    settings: ArcSwap<Settings>,
    /// Seats it has now: nominal ones, less those lent, more those borrowed.
    limit: AtomicUsize,
    taken: AtomicUsize,
    waiting: AtomicUsize,
    queues: Mutex<Queues<Waiter>>,
    usage: Mutex<Usage>,
    /// By ticket: in the order in which they were begun.
    served: Mutex<BTreeMap<usize, Served>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    dispatched: AtomicUsize,
    rejected: AtomicUsize,
    timed_out: AtomicUsize,
    cancelled: AtomicUsize,
}

struct Waiter {
    /// Gives the seats over.
    turn: oneshot::Sender<Seats>,
    asked: Asked,
}

/// A queue, for dumps.
#[derive(Debug)]
pub struct QueueFigures {
    pub executing: usize,
    pub taken: usize,
    /// Virtual time of its next request.
    pub next: f64,
    pub waiting: Vec<Asked>,
}

/// Figures for metrics and dumps.
#[derive(Clone, Debug)]
pub struct Figures {
    pub name: Arc<str>,
    pub nominal: usize,
    pub min: usize,
    pub max: usize,
    pub limit: usize,
    pub executing: usize,
    pub waiting: usize,
    pub dispatched: usize,
    pub rejected: usize,
    pub timed_out: usize,
    pub cancelled: usize,
    pub demand: Statistics,
    pub usage: Usage,
}

impl Level {
    /// Periods of its demand are counted from `start`.
    pub fn new(name: &str, start: Instant) -> Self {
        let uid = HeaderValue::from_static("");
        let nothing = Settings { uid, exempt: false, nominal: 0, min: 0, max: 0, tenth: 0, queuing: None };
        Self {
            name: name.into(),
            settings: ArcSwap::from_pointee(nothing),
            limit: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queues: Mutex::new(Queues::new()),
            usage: Mutex::new(Usage::new(start)),
            served: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub fn set(self: &Arc<Self>, settings: Settings) {
        let (queues, hand, length) = settings.queuing.unwrap_or_default();
        self.queues().resize(queues, hand, length);
        let unchanged = self.settings.load().nominal == settings.nominal;
        if !unchanged {
            self.limit.store(settings.nominal, SeqCst);
        }
        self.settings.store(Arc::new(settings));
        self.measure();
        self.dispatch();
    }

    pub fn uid(&self) -> HeaderValue {
        self.settings.load().uid.clone()
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Where requests wait, none may be so wide that its flow's queues together could not have it, nor wider than
    /// 15 % of the level.
    pub fn max_width(&self) -> usize {
        let settings = self.settings.load();
        let Some((_, hand, _)) = settings.queuing else { return usize::MAX };
        (settings.nominal * 15).div_ceil(100).min(settings.nominal / hand.max(1)).max(1)
    }

    pub fn set_limit(self: &Arc<Self>, seats: usize) {
        self.limit.store(seats, SeqCst);
        self.measure();
        self.dispatch();
    }

    /// Tells what its use is a share of.
    fn measure(&self) {
        let settings = self.settings.load();
        let limit = self.limit.load(SeqCst);
        let seats = if limit == 0 { settings.tenth } else { limit };
        self.usage().of(seats, settings.room().unwrap_or_default());
    }

    pub fn waiting_now(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    pub fn taken_now(&self) -> usize {
        self.taken.load(SeqCst)
    }

    /// Of the last ten seconds that are over.
    pub fn demand(&self, now: Instant) -> Statistics {
        self.usage().demand.statistics(now)
    }

    /// Seats at once, if there are any and nobody waits for them; else the request comes back.
    pub fn try_enter(self: &Arc<Self>, asked: Asked) -> Result<Seats, Asked> {
        let exempt = self.settings.load().exempt;
        if exempt {
            self.taken.fetch_add(asked.width.seats, SeqCst);
        } else if self.waiting.load(SeqCst) > 0 || !self.take(asked.width.seats) {
            return Err(asked);
        }
        let since = asked.arrived;
        Ok(self.seat(Served { asked, queue: None, since }))
    }

    fn seat(self: &Arc<Self>, served: Served) -> Seats {
        let Served { asked, queue, since } = &served;
        let ticket = self.counts.dispatched.fetch_add(1, Relaxed);
        self.usage().began(asked.width.seats, queue.is_some(), *since);
        asked.tally.dispatched(asked.width.seats, *since - asked.arrived, *since);
        self.served().insert(ticket, served);
        Seats { level: self.clone(), ticket }
    }

    /// A level without any seat in use serves whoever is next, however wide.
    fn take(&self, seats: usize) -> bool {
        let limit = self.limit.load(SeqCst);
        let more = |taken: usize| (taken + seats <= limit || (taken == 0 && limit > 0)).then_some(taken + seats);
        self.taken.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Waits for a turn; `None` when there is no room, or none comes in time.
    pub async fn wait(self: &Arc<Self>, flow: FlowHash, asked: Asked, most: Duration) -> Option<Seats> {
        let (tally, arrived, seats) = (asked.tally.clone(), asked.arrived, asked.width.seats);
        if self.settings.load().queuing.is_none() {
            self.counts.rejected.fetch_add(1, Relaxed);
            tally.rejected(Rejection::ConcurrencyLimit, Duration::ZERO);
            return None;
        }
        let (turn, called) = oneshot::channel();
        let waiter = Waiter { turn, asked };
        let place = {
            let mut queues = self.queues();
            let place = queues.push(flow, seats, waiter);
            if let Some(place) = place {
                self.waiting.fetch_add(1, SeqCst);
                self.usage().queued(seats, arrived);
                tally.queued(seats, queues.length(place), arrived);
            }
            place
        };
        let Some(place) = place else {
            self.counts.rejected.fetch_add(1, Relaxed);
            tally.rejected(Rejection::QueueFull, Duration::ZERO);
            return None;
        };
        let mut leaving = Leaving { level: self, tally, seats, arrived, place: Some(place) };
        self.dispatch();
        let seats = timeout(most, called).await;
        match seats {
            Ok(Ok(seats)) => {
                leaving.place = None;
                Some(seats)
            }
            _ => {
                self.counts.timed_out.fetch_add(1, Relaxed);
                leaving.leave(Rejection::TimeOut);
                None
            }
        }
    }

    /// Seats go to those whose turn it is, as long as there are any.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let mut queues = self.queues();
            let fits = |seats: usize, waiter: &Waiter| {
                let fits = self.take(seats);
                if !fits {
                    waiter.asked.tally.too_wide();
                }
                fits
            };
            let Some((queue, _, waiter)) = queues.pop(fits) else { return };
            self.waiting.fetch_sub(1, SeqCst);
            drop(queues);
            // Whoever has left meanwhile gives the seats back as they are dropped.
            let Waiter { turn, asked } = waiter;
            asked.tally.left_queue(asked.width.seats);
            drop(turn.send(self.seat(Served { asked, queue: Some(queue), since: Instant::now() })));
        }
    }

    fn release(self: &Arc<Self>, seats: usize) {
        self.taken.fetch_sub(seats, SeqCst);
        self.usage().released(seats);
        if self.waiting.load(SeqCst) > 0 {
            self.dispatch();
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues<Waiter>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<usize, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn figures(&self) -> Figures {
        let settings = self.settings.load();
        let Counts { dispatched, rejected, timed_out, cancelled } = &self.counts;
        Figures {
            name: self.name.clone(),
            nominal: settings.nominal,
            min: settings.min,
            max: settings.max,
            limit: self.limit.load(Relaxed),
            executing: self.served().len(),
            waiting: self.waiting.load(Relaxed),
            dispatched: dispatched.load(Relaxed),
            rejected: rejected.load(Relaxed),
            timed_out: timed_out.load(Relaxed),
            cancelled: cancelled.load(Relaxed),
            demand: self.demand(Instant::now()),
            usage: self.usage().clone(),
        }
    }

    pub fn queue_figures(&self) -> Vec<QueueFigures> {
        let queues = self.queues();
        let figures = queues.figures().map(|(executing, taken, next, waiting)| QueueFigures {
            executing,
            taken,
            next,
            waiting: waiting.into_iter().map(|waiter| waiter.asked.clone()).collect(),
        });
        figures.collect()
    }

    pub fn served_now(&self) -> Vec<Served> {
        self.served().values().cloned().collect()
    }
}

/// Held while a request is served.
pub struct Seats {
    level: Arc<Level>,
    ticket: usize,
}

impl Drop for Seats {
    fn drop(&mut self) {
        let level = &self.level;
        let Some(Served { asked, queue, since }) = level.served().remove(&self.ticket) else { return };
        let (now, width) = (Instant::now(), asked.width);
        let took = now - since;
        asked.tally.done(width.seats, took, now);
        level.usage().answered(now);
        if let Some(queue) = queue {
            level.queues().done(queue, width.seats, took.as_secs_f64());
        }
        // What a write costs afterwards matters only where somebody waits for its seats.
        if width.extra.is_zero() || level.waiting_now() == 0 {
            return level.release(width.seats);
        }
        let level = level.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(width.extra).await;
                level.release(width.seats);
            })),
            Err(_) => level.release(width.seats),
        }
    }
}

/// Takes a request out of its queue when its client goes, or its patience.
struct Leaving<'a> {
    level: &'a Arc<Level>,
    tally: Arc<Tally>,
    seats: usize,
    arrived: Instant,
    place: Option<Place>,
}

impl Leaving<'_> {
    fn leave(&mut self, why: Rejection) {
        if let Some(place) = self.place.take()
            && self.level.queues().remove(place)
        {
            self.level.waiting.fetch_sub(1, SeqCst);
            self.level.usage().gave_up(self.seats);
            self.tally.left_queue(self.seats);
            self.tally.rejected(why, self.arrived.elapsed());
        }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.level.counts.cancelled.fetch_add(1, Relaxed);
            self.leave(Rejection::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::metrics::Tallies;
    use crate::flow::schema::Distinguisher;
    use crate::flow::width::Width;
    use crate::request::RequestInfo;

    fn level(seats: usize, queuing: Option<(usize, usize, usize)>) -> Arc<Level> {
        let level = Arc::new(Level::new("l", Instant::now()));
        let uid = HeaderValue::from_static("u");
        level.set(Settings { uid, exempt: false, nominal: seats, min: 0, max: 600, tenth: 60, queuing });
        level
    }

    fn one() -> Asked {
        let info = Arc::new(RequestInfo { verb: "get".into(), ..RequestInfo::default() });
        let tally = Tallies::new(&"s".into(), &"l".into()).of(&info).clone();
        let (user, distinguisher) = (Arc::default(), Distinguisher::Nothing);
        Asked { user, info, tally, distinguisher, width: Width::ONE, arrived: Instant::now() }
    }

    const LONG: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn seats_pass_from_hand_to_hand() {
        let level = level(1, Some((4, 1, 2)));
        let first = level.try_enter(one()).expect("a free seat");
        assert!(level.try_enter(one()).is_err());
        let waiting = level.wait(1, one(), LONG);
        let (second, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            assert_eq!(level.waiting_now(), 1);
            drop(first);
        });
        assert!(second.is_some() && level.waiting_now() == 0);
        let refused = tokio::join!(level.wait(1, one(), LONG), level.wait(1, one(), LONG), level.wait(1, one(), LONG),);
        assert!(refused.0.is_none() && refused.1.is_none() && refused.2.is_none());
        let figures = level.figures();
        assert_eq!((figures.rejected, figures.timed_out, figures.waiting, level.taken_now()), (1, 2, 0, 1));
        drop(second);
        assert_eq!(level.taken_now(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_makes_room() {
        let level = level(1, Some((1, 1, 1)));
        let held = level.try_enter(one());
        drop(tokio::time::timeout(Duration::from_secs(1), level.wait(1, one(), LONG)).await);
        assert_eq!((level.waiting_now(), level.figures().cancelled), (0, 1));
        drop(held);
        assert!(level.try_enter(one()).is_ok());
    }

    #[test]
    fn wide_requests_leave_room() {
        let width = |seats, hand| level(seats, Some((64, hand, 50))).max_width();
        assert_eq!((width(245, 6), width(20, 8), width(5, 8)), (37, 2, 1));
        assert_eq!(level(13, None).max_width(), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wanted_is_counted_until_seats_are_given_back() {
        let level = level(2, Some((1, 1, 1)));
        let held = [level.try_enter(one()), level.try_enter(one())];
        assert!(level.wait(1, one(), Duration::from_secs(2)).await.is_none());
        tokio::time::advance(Duration::from_secs(8)).await;
        let Statistics { most, average, deviation, smoothed } = level.figures().demand;
        let close = |number: f64, want: f64| (number - want).abs() < 0.01;
        assert!(most == 3 && close(average, 2.2) && close(deviation, 0.4) && close(smoothed, 2.6), "{average}");
        drop(held);
        tokio::time::advance(Duration::from_secs(10)).await;
        let after = level.figures();
        assert!(after.demand.most == 2 && close(after.demand.average, 0.0), "{:?}", after.demand);
    }

    #[test]
    fn levels_without_queues_refuse() {
        let level = level(0, None);
        assert!(level.try_enter(one()).is_err());
    }
}
