//! A priority level: so many seats, and what becomes of requests that find none free.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use orlop_api::{Value, meta};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::metrics::{Rejection, Tally};
use super::queues::{Place, Queues};
use super::schema::FlowHash;
use super::width::Width;

pub struct Level {
    pub name: Arc<str>,
    settings: ArcSwap<Settings>,
    /// Seats it has now: nominal ones, less those lent, more those borrowed.
    limit: AtomicUsize,
    taken: AtomicUsize,
    executing: AtomicUsize,
    waiting: AtomicUsize,
    /// Most seats wanted at once since borrowing was looked at last.
    demand: AtomicUsize,
    queues: Mutex<Queues<Waiter>>,
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
    width: Width,
    tally: Arc<Tally>,
    arrived: Instant,
    /// What tells its flow from others of its schema.
    distinguisher: String,
}

/// A queue, for dumps.
#[derive(Debug)]
pub struct QueueFigures {
    pub executing: usize,
    pub taken: usize,
    /// Virtual time of its next request.
    pub next: f64,
    pub waiting: Vec<WaiterFigures>,
}

#[derive(Debug)]
pub struct WaiterFigures {
    pub schema: Arc<str>,
    pub distinguisher: String,
    pub width: Width,
    pub waited: Duration,
}

/// What the level's object says.
#[derive(Clone, Debug)]
pub struct Settings {
    uid: HeaderValue,
    pub exempt: bool,
    pub nominal: usize,
    /// What stays when everything lendable is lent.
    pub min: usize,
    /// What it may have with everything borrowed.
    pub max: usize,
    /// Queues, hand size and queue length; `None` refuses what finds no seat.
    queuing: Option<(usize, usize, usize)>,
}

/// Figures for metrics and dumps.
#[derive(Clone, Debug)]
pub struct Figures {
    pub name: Arc<str>,
    pub nominal: usize,
    pub min: usize,
    pub max: usize,
    pub limit: usize,
    pub taken: usize,
    pub executing: usize,
    pub waiting: usize,
    pub dispatched: usize,
    pub rejected: usize,
    pub timed_out: usize,
    pub cancelled: usize,
}

impl Settings {
    /// Shares of the server's seats.
    pub fn shares(object: &Value) -> u64 {
        let spec = &object["spec"];
        let (own, default) = if spec["type"] == "Exempt" { (&spec["exempt"], 0) } else { (&spec["limited"], 30) };
        own["nominalConcurrencyShares"].as_u64().unwrap_or(default)
    }

    pub fn read(object: &Value, total: usize, all_shares: u64) -> Self {
        let spec = &object["spec"];
        let exempt = spec["type"] == "Exempt";
        let own = if exempt { &spec["exempt"] } else { &spec["limited"] };
        let nominal = (total as u64 * Self::shares(object)).div_ceil(all_shares.max(1)) as usize;
        let percent = |field: &str| own[field].as_u64().map(|percent| (nominal as u64 * percent + 50) as usize / 100);
        let queuing = &own["limitResponse"]["queuing"];
        let number = |field: &str, default: u64| queuing[field].as_u64().unwrap_or(default) as usize;
        Self {
            uid: HeaderValue::from_str(meta::uid(object)).unwrap_or_else(|_| HeaderValue::from_static("")),
            exempt,
            nominal,
            min: nominal - percent("lendablePercent").unwrap_or(0).min(nominal),
            max: percent("borrowingLimitPercent").map_or(total, |more| nominal + more),
            queuing: (own["limitResponse"]["type"] == "Queue")
                .then(|| (number("queues", 64), number("handSize", 8), number("queueLengthLimit", 50))),
        }
    }
}

impl Level {
    pub fn new(name: &str) -> Self {
        let nothing =
            Settings { uid: HeaderValue::from_static(""), exempt: false, nominal: 0, min: 0, max: 0, queuing: None };
        Self {
            name: name.into(),
            settings: ArcSwap::from_pointee(nothing),
            limit: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            executing: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            demand: AtomicUsize::new(0),
            queues: Mutex::new(Queues::new()),
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
        self.dispatch();
    }

    pub fn uid(&self) -> HeaderValue {
        self.settings.load().uid.clone()
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// No request may be so wide that its flow's queues together could not have it.
    pub fn max_width(&self) -> usize {
        let settings = self.settings.load();
        let hand = settings.queuing.map_or(1, |(_, hand, _)| hand.max(1));
        settings.nominal.div_ceil(hand).max(1)
    }

    pub fn set_limit(self: &Arc<Self>, seats: usize) {
        self.limit.store(seats, SeqCst);
        self.dispatch();
    }

    /// The most that was wanted at once since the last call.
    pub fn take_demand(&self) -> usize {
        let now = self.taken.load(Relaxed) + self.waiting.load(Relaxed);
        self.demand.swap(now, Relaxed).max(now)
    }

    pub fn note_demand(&self, seats: usize) {
        let wanted = self.taken.load(Relaxed) + self.waiting.load(Relaxed) + seats;
        self.demand.fetch_max(wanted, Relaxed);
    }

    pub fn waiting_now(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Seats at once, if there are any and nobody waits for them.
    pub fn try_enter(self: &Arc<Self>, width: Width, tally: &Arc<Tally>) -> Option<Seats> {
        let exempt = self.settings.load().exempt;
        if exempt {
            self.taken.fetch_add(width.seats, SeqCst);
        } else if self.waiting.load(SeqCst) > 0 || !self.take(width.seats) {
            return None;
        }
        Some(self.seat(width, None, tally.clone(), Duration::ZERO))
    }

    fn seat(self: &Arc<Self>, width: Width, queue: Option<usize>, tally: Arc<Tally>, waited: Duration) -> Seats {
        self.executing.fetch_add(1, Relaxed);
        self.counts.dispatched.fetch_add(1, Relaxed);
        tally.dispatched(width.seats, waited);
        Seats { level: self.clone(), width, queue, since: Instant::now(), tally }
    }

    /// A level without any seat in use serves whoever is next, however wide.
    fn take(&self, seats: usize) -> bool {
        let limit = self.limit.load(SeqCst);
        let more = |taken: usize| (taken + seats <= limit || (taken == 0 && limit > 0)).then_some(taken + seats);
        self.taken.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Waits for a turn; `None` when there is no room, or none comes in time.
    pub async fn wait(
        self: &Arc<Self>,
        (flow, distinguisher): (FlowHash, &str),
        tally: &Arc<Tally>,
        width: Width,
        most: Duration,
    ) -> Option<Seats> {
        if self.settings.load().queuing.is_none() {
            self.counts.rejected.fetch_add(1, Relaxed);
            tally.rejected(Rejection::ConcurrencyLimit, Duration::ZERO);
            return None;
        }
        let (turn, called) = oneshot::channel();
        let arrived = Instant::now();
        let waiter = Waiter { turn, width, tally: tally.clone(), arrived, distinguisher: distinguisher.to_owned() };
        let place = {
            let mut queues = self.queues();
            let place = queues.push(flow, width.seats, waiter);
            if let Some(place) = place {
                self.waiting.fetch_add(1, SeqCst);
                tally.queued(width.seats, queues.length(place));
            }
            place
        };
        let Some(place) = place else {
            self.counts.rejected.fetch_add(1, Relaxed);
            tally.rejected(Rejection::QueueFull, Duration::ZERO);
            return None;
        };
        let mut leaving = Leaving { level: self, tally, seats: width.seats, arrived, place: Some(place) };
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
            let Some((queue, _, waiter)) = queues.pop(|seats| self.take(seats)) else { return };
            self.waiting.fetch_sub(1, SeqCst);
            drop(queues);
            // Whoever has left meanwhile gives the seats back as they are dropped.
            let Waiter { turn, width, tally, arrived, .. } = waiter;
            tally.left_queue(width.seats);
            drop(turn.send(self.seat(width, Some(queue), tally, arrived.elapsed())));
        }
    }

    fn release(self: &Arc<Self>, seats: usize) {
        self.taken.fetch_sub(seats, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.dispatch();
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues<Waiter>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
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
            taken: self.taken.load(Relaxed),
            executing: self.executing.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            dispatched: dispatched.load(Relaxed),
            rejected: rejected.load(Relaxed),
            timed_out: timed_out.load(Relaxed),
            cancelled: cancelled.load(Relaxed),
        }
    }

    pub fn queue_figures(&self) -> Vec<QueueFigures> {
        let waiter = |waiter: &Waiter| WaiterFigures {
            schema: waiter.tally.name.clone(),
            distinguisher: waiter.distinguisher.clone(),
            width: waiter.width,
            waited: waiter.arrived.elapsed(),
        };
        let queues = self.queues();
        let figures = queues.figures().map(|(executing, taken, next, waiting)| QueueFigures {
            executing,
            taken,
            next,
            waiting: waiting.into_iter().map(waiter).collect(),
        });
        figures.collect()
    }

    /// The most that was wanted at once since borrowing was looked at last, without beginning anew.
    pub fn demand(&self) -> usize {
        let now = self.taken.load(Relaxed) + self.waiting.load(Relaxed);
        self.demand.load(Relaxed).max(now)
    }
}

/// Held while a request is served.
pub struct Seats {
    level: Arc<Level>,
    width: Width,
    /// The one it comes from.
    queue: Option<usize>,
    since: Instant,
    tally: Arc<Tally>,
}

impl Drop for Seats {
    fn drop(&mut self) {
        let Self { level, width, queue, since, tally } = self;
        let took = since.elapsed();
        tally.done(width.seats, took);
        level.executing.fetch_sub(1, Relaxed);
        if let Some(queue) = *queue {
            level.queues().done(queue, width.seats, took.as_secs_f64());
        }
        // What a write costs afterwards matters only where somebody waits for its seats.
        if width.extra.is_zero() || level.waiting_now() == 0 {
            return level.release(width.seats);
        }
        let (level, width) = (level.clone(), *width);
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
    tally: &'a Tally,
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
    use serde_json::json;

    use super::*;

    fn level(seats: usize, queuing: Option<(usize, usize, usize)>) -> Arc<Level> {
        let level = Arc::new(Level::new("l"));
        let uid = HeaderValue::from_static("u");
        level.set(Settings { uid, exempt: false, nominal: seats, min: 0, max: 600, queuing });
        level
    }

    fn tally() -> Arc<Tally> {
        let [tally, _] = Tally::both(&"s".into(), &"l".into());
        tally
    }

    const LONG: Duration = Duration::from_secs(15);

    #[test]
    fn settings_are_read_as_upstream_reads_them() {
        let object = |spec: Value| json!({"metadata": {"name": "x", "uid": "u"}, "spec": spec});
        let limited = object(json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": 30, "lendablePercent": 33, "limitResponse": {"type": "Queue"}}}));
        let settings = Settings::read(&limited, 600, 245);
        assert_eq!((settings.nominal, settings.min, settings.max), (74, 50, 600));
        assert_eq!(settings.queuing, Some((64, 8, 50)));
        let exempt = object(json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}));
        assert!(Settings::read(&exempt, 600, 245).exempt);
    }

    #[tokio::test(start_paused = true)]
    async fn seats_pass_from_hand_to_hand() {
        let level = level(1, Some((4, 1, 2)));
        let schema = tally();
        let first = level.try_enter(Width::ONE, &tally()).expect("a free seat");
        assert!(level.try_enter(Width::ONE, &tally()).is_none());
        let waiting = level.wait((1, ""), &schema, Width::ONE, LONG);
        let (second, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            assert_eq!(level.waiting_now(), 1);
            drop(first);
        });
        assert!(second.is_some() && level.waiting_now() == 0);
        let refused = tokio::join!(
            level.wait((1, ""), &schema, Width::ONE, LONG),
            level.wait((1, ""), &schema, Width::ONE, LONG),
            level.wait((1, ""), &schema, Width::ONE, LONG),
        );
        assert!(refused.0.is_none() && refused.1.is_none() && refused.2.is_none());
        let figures = level.figures();
        assert_eq!((figures.rejected, figures.timed_out, figures.waiting, figures.taken), (1, 2, 0, 1));
        drop(second);
        assert_eq!(level.figures().taken, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_makes_room() {
        let level = level(1, Some((1, 1, 1)));
        let held = level.try_enter(Width::ONE, &tally());
        let schema = tally();
        drop(tokio::time::timeout(Duration::from_secs(1), level.wait((1, ""), &schema, Width::ONE, LONG)).await);
        assert_eq!((level.waiting_now(), level.figures().cancelled), (0, 1));
        drop(held);
        assert!(level.try_enter(Width::ONE, &tally()).is_some());
    }

    #[test]
    fn levels_without_queues_refuse() {
        let level = level(0, None);
        assert!(level.try_enter(Width::ONE, &tally()).is_none());
    }
}
