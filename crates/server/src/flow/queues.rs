//! Where requests wait, and whose turn it is: fair queuing by the work each queue has had
//! (`flowcontrol/fairqueuing`).
//!
//! Each flow is dealt a hand of queues and waits in the least busy one: a flow that floods its own hand leaves others
//! at least one queue that it does not sit in, very probably. Work is counted in seat-seconds, as if all queues were
//! served at once; the queue that is due first in that virtual time is next.

use std::collections::VecDeque;

use super::schema::FlowHash;

/// What a request is expected to take before it has shown it (`estimatedServiceDuration`).
pub const EXPECTED_SECONDS: f64 = 0.003;

pub struct Queues<T> {
    queues: Vec<Queue<T>>,
    hand: usize,
    /// Requests that may wait in one queue.
    length_limit: usize,
    /// Start of the work that was begun last.
    virtual_time: f64,
    /// The queue after the one that was served last: the first to win a tie.
    robin: usize,
    tickets: u64,
}

struct Queue<T> {
    waiting: VecDeque<Waiter<T>>,
    waiting_seats: usize,
    executing: usize,
    executing_seats: usize,
    /// Virtual time at which its next request begins.
    next: f64,
}

struct Waiter<T> {
    ticket: u64,
    seats: usize,
    token: T,
}

/// Where a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue: usize,
    ticket: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), waiting_seats: 0, executing: 0, executing_seats: 0, next: 0.0 }
    }
}

impl<T> Queues<T> {
    pub fn new() -> Self {
        Self { queues: Vec::new(), hand: 0, length_limit: 0, virtual_time: 0.0, robin: 0, tickets: 0 }
    }

    /// Queues that are too many go once nobody waits in them any more.
    pub fn resize(&mut self, queues: usize, hand: usize, length_limit: usize) {
        self.hand = hand.min(queues);
        self.length_limit = length_limit;
        while self.queues.len() > queues && self.queues.last().is_some_and(|queue| queue.waiting.is_empty()) {
            self.queues.pop();
        }
        if self.queues.len() < queues {
            self.queues.resize_with(queues, Queue::default);
        }
    }

    /// `None`: its queue is full.
    pub fn push(&mut self, flow: FlowHash, seats: usize, token: T) -> Option<Place> {
        let cards = deal(flow, self.queues.len(), self.hand);
        let load = |card: &usize| self.queues[*card].waiting_seats + self.queues[*card].executing_seats;
        let index = cards.into_iter().min_by_key(load)?;
        let queue = &mut self.queues[index];
        if queue.waiting.len() >= self.length_limit {
            return None;
        }
        if queue.waiting.is_empty() && queue.executing_seats == 0 {
            // Time that it did not use is not owed to it.
            queue.next = queue.next.max(self.virtual_time);
        }
        self.tickets += 1;
        queue.waiting.push_back(Waiter { ticket: self.tickets, seats, token });
        queue.waiting_seats += seats;
        Some(Place { queue: index, ticket: self.tickets })
    }

    /// Requests that wait where this one does.
    pub fn length(&self, place: Place) -> usize {
        self.queues[place.queue].waiting.len()
    }

    /// Takes the request whose turn it is, if `fits` agrees.
    pub fn pop(&mut self, fits: impl FnOnce(usize, &T) -> bool) -> Option<(usize, usize, T)> {
        let count = self.queues.len();
        let ends = |index: usize| {
            let queue = &self.queues[index];
            queue.waiting.front().map(|first| queue.next + EXPECTED_SECONDS * first.seats as f64)
        };
        let order = (0..count).map(|step| (self.robin + step) % count);
        let due = order.filter_map(|index| Some((index, ends(index)?)));
        let (index, _) = due.reduce(|best, other| if other.1 < best.1 { other } else { best })?;
        let queue = &mut self.queues[index];
        let first = queue.waiting.front()?;
        if !fits(first.seats, &first.token) {
            return None;
        }
        let Waiter { seats, token, .. } = queue.waiting.pop_front()?;
        self.virtual_time = self.virtual_time.max(queue.next);
        queue.next += EXPECTED_SECONDS * seats as f64;
        queue.waiting_seats -= seats;
        queue.executing += 1;
        queue.executing_seats += seats;
        self.robin = (index + 1) % count;
        Some((index, seats, token))
    }

    /// A request from this queue is finished; what it took differs from what was expected.
    pub fn done(&mut self, queue: usize, seats: usize, seconds: f64) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.executing = queue.executing.saturating_sub(1);
            queue.executing_seats = queue.executing_seats.saturating_sub(seats);
            queue.next += (seconds - EXPECTED_SECONDS) * seats as f64;
        }
    }

    /// A request gives up waiting; false when it was its turn already.
    pub fn remove(&mut self, place: Place) -> bool {
        let Some(queue) = self.queues.get_mut(place.queue) else { return false };
        let Some(at) = queue.waiting.iter().position(|waiter| waiter.ticket == place.ticket) else { return false };
        let seats = queue.waiting.remove(at).map_or(0, |waiter| waiter.seats);
        queue.waiting_seats -= seats;
        true
    }

    /// Of each queue: requests being served, seats they take, virtual time of its next request, and those who wait.
    pub fn figures(&self) -> impl Iterator<Item = (usize, usize, f64, Vec<&T>)> {
        self.queues.iter().map(|queue| {
            let waiting = queue.waiting.iter().map(|waiter| &waiter.token);
            (queue.executing, queue.executing_seats, queue.next, waiting.collect())
        })
    }
}

/// `hand` different cards out of `deck`, as the hash says (`shufflesharding/dealer.go`).
fn deal(mut hash: FlowHash, deck: usize, hand: usize) -> Vec<usize> {
    let mut picked = Vec::with_capacity(hand);
    let mut cards = Vec::with_capacity(hand);
    for i in 0..hand {
        let left = (deck - i) as u64;
        picked.push((hash % left) as usize);
        hash /= left;
    }
    for i in 0..hand {
        // Counted among the cards that are left: each taken one at or below it moves it up.
        let mut card = picked[i];
        for before in picked[..i].iter().rev() {
            if card >= *before {
                card += 1;
            }
        }
        cards.push(card);
    }
    cards
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hands_have_different_cards() {
        for hash in [0, 1, 7_919, u64::MAX, 0x1234_5678_9abc_def0] {
            let cards = deal(hash, 16, 4);
            assert_eq!(cards.iter().collect::<BTreeSet<_>>().len(), 4, "{cards:?}");
            assert!(cards.iter().all(|card| *card < 16), "{cards:?}");
        }
    }

    #[test]
    fn a_flow_that_floods_waits_for_its_turn() {
        let mut queues = Queues::new();
        queues.resize(64, 1, 100);
        let (many, few) = (1, 2);
        for n in 0..10 {
            queues.push(many, 1, format!("many {n}")).expect("room");
        }
        queues.push(few, 1, "few 0".to_owned()).expect("room");
        queues.push(few, 1, "few 1".to_owned()).expect("room");
        let order: Vec<String> = (0..4).map(|_| queues.pop(|_, _| true).expect("somebody").2).collect();
        let of_few = order.iter().filter(|who| who.starts_with("few")).count();
        assert_eq!(of_few, 2, "{order:?}");
    }

    #[test]
    fn work_counts_and_not_requests() {
        let mut queues = Queues::new();
        queues.resize(64, 1, 100);
        for n in 0..4 {
            queues.push(1, 10, format!("wide {n}")).expect("room");
            queues.push(2, 1, format!("narrow {n}")).expect("room");
        }
        let order: Vec<String> = (0..5).map(|_| queues.pop(|_, _| true).expect("somebody").2).collect();
        assert_eq!(order.iter().filter(|who| who.starts_with("narrow")).count(), 4, "{order:?}");
    }

    #[test]
    fn full_queues_refuse_and_leavers_leave() {
        let mut queues = Queues::new();
        queues.resize(1, 1, 2);
        let first = queues.push(1, 1, ()).expect("room");
        assert!(queues.push(1, 1, ()).is_some() && queues.push(1, 1, ()).is_none());
        assert!(queues.remove(first) && !queues.remove(first));
        assert!(queues.pop(|_, ()| false).is_none());
        let (queue, seats, ()) = queues.pop(|_, ()| true).expect("somebody");
        queues.done(queue, seats, 1.0);
        assert_eq!(queues.figures().next().map(|figures| (figures.3.len(), figures.1)), Some((0, 0)));
    }
}
