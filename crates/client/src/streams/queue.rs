//! A bounded queue between a connection's tasks and the handles of its streams.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// First in, first out, bounded by weight. Producers wait with [`Queue::poll_ready`]; items that
/// must not wait (a FIN, a window update) go in at any time and are bounded by their own nature.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    limit: usize,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<(T, usize)>,
    weight: usize,
    state: State,
    consumer: Option<Waker>,
    producers: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// What is queued may still be taken.
    Ended,
    /// As `Ended`, but the end came before its time.
    Broken,
}

/// The queue takes no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What a consumer finds at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Regular,
    Broken,
}

impl<T> Queue<T> {
    pub fn new(limit: usize) -> Self {
        let inner =
            Inner { items: VecDeque::new(), weight: 0, state: State::Open, consumer: None, producers: Vec::new() };
        Self { inner: Mutex::new(inner), limit }
    }

    /// Ready when the queue is under its limit: one more item of any weight may follow.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Poll::Ready(Err(Closed));
        }
        if inner.weight < self.limit {
            return Poll::Ready(Ok(()));
        }
        if !inner.producers.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.producers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub async fn ready(&self) -> Result<(), Closed> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// Adds an item whatever the fill.
    pub fn push(&self, item: T, weight: usize) -> Result<(), Closed> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Err(Closed);
        }
        inner.items.push_back((item, weight));
        inner.weight += weight;
        wake(inner.consumer.take());
        Ok(())
    }

    /// Adds an item unless the queue is full: for answers that a flood of questions may skip.
    pub fn push_if_room(&self, item: T, weight: usize) {
        let mut inner = self.lock();
        if inner.state == State::Open && inner.weight < self.limit {
            inner.items.push_back((item, weight));
            inner.weight += weight;
            wake(inner.consumer.take());
        }
    }

    pub fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Result<T, End>> {
        let mut inner = self.lock();
        if let Some((item, weight)) = inner.items.pop_front() {
            inner.weight -= weight;
            if inner.weight < self.limit {
                inner.producers.drain(..).for_each(Waker::wake);
            }
            return Poll::Ready(Ok(item));
        }
        match inner.state {
            State::Open => {
                inner.consumer = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Ended => Poll::Ready(Err(End::Regular)),
            State::Broken => Poll::Ready(Err(End::Broken)),
        }
    }

    pub async fn pop(&self) -> Result<T, End> {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    pub fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// No more items; those queued may still be taken.
    pub fn end(&self) {
        self.finish(State::Ended);
    }

    /// As [`Queue::end`], and the consumer learns that something is missing.
    pub fn break_off(&self) {
        self.finish(State::Broken);
    }

    /// The consumer is gone: drops what is queued and refuses more.
    pub fn abandon(&self) {
        self.finish(State::Ended);
        let dropped = {
            let mut inner = self.lock();
            inner.weight = 0;
            std::mem::take(&mut inner.items)
        };
        drop(dropped);
    }

    fn finish(&self, state: State) {
        let mut inner = self.lock();
        if inner.state == State::Open {
            inner.state = state;
        }
        wake(inner.consumer.take());
        inner.producers.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_full_queue_holds_its_producer_until_there_is_room() {
        let queue = Queue::new(10);
        queue.ready().await.expect("open");
        queue.push("a", 10).expect("open");
        assert!(queue.ready().now_or_never().is_none());
        assert_eq!(queue.pop().await, Ok("a"));
        queue.ready().await.expect("room again");
    }

    #[tokio::test]
    async fn what_is_queued_survives_the_end() {
        let queue = Queue::new(10);
        queue.push(1, 1).expect("open");
        queue.break_off();
        queue.end();
        assert_eq!(queue.push(2, 1), Err(Closed));
        assert_eq!(queue.pop().await, Ok(1));
        assert_eq!(queue.pop().await, Err(End::Broken), "the first end counts");
    }

    #[tokio::test]
    async fn abandoning_drops_everything() {
        let queue = Queue::new(10);
        queue.push(1, 10).expect("open");
        queue.abandon();
        assert_eq!(queue.ready().await, Err(Closed));
        assert_eq!(queue.pop().await, Err(End::Regular));
    }
}
