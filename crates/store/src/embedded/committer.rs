//! The one who makes groups durable.

use std::io;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::error;

use super::commit::Commit;
use super::log::{Log, frames};
use super::queue::Group;
use super::shared::Shared;
use crate::backend::{Feed, Published};

pub(crate) struct Committer {
    shared: Arc<Shared>,
    feed: Feed,
    /// `None` for a store that is only in memory.
    log: Option<Log>,
    in_flight: Option<Arc<Commit>>,
    /// Until when the pending relaxed writes wait for company.
    deadline: Option<Instant>,
}

/// What the queue asks for.
enum Next {
    Commit(Group),
    WaitUntil(Instant),
    Wait,
    Stop,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, feed: Feed, log: Option<Log>) -> Committer {
        let committer = Committer { shared, feed, log, in_flight: None, deadline: None };
        committer.count(0, 0);
        committer
    }

    /// Runs where blocking disturbs nobody. The thread has its own clock: it does not depend on the
    /// caller's runtime, which may go away first.
    pub fn run_on_thread(self) {
        let shared = self.shared.clone();
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.run()),
            Err(error) => drop(self.fail(error)),
        };
        if let Err(error) = std::thread::Builder::new().name("store-committer".into()).spawn(run) {
            shared.fail(error);
        }
    }

    pub async fn run(mut self) {
        loop {
            match self.next() {
                Next::Commit(group) => self.commit(group).await,
                Next::Wait => self.shared.bell.notified().await,
                Next::WaitUntil(deadline) => {
                    // Woken or not, the queue says what is next.
                    let _ = tokio::time::timeout_at(deadline, self.shared.bell.notified()).await;
                }
                Next::Stop => break self.seal(),
            }
        }
    }

    /// Lets the next start go on at the very revision where this one stops.
    fn seal(&mut self) {
        let revision = {
            let queue = self.shared.queue();
            let written = queue.failure.is_none() && queue.revision > queue.opened_at;
            written.then_some(queue.revision)
        };
        if let (Some(log), Some(revision)) = (self.log.as_mut(), revision)
            && let Err(error) = log.seal(revision)
        {
            self.fail(error);
        }
    }

    fn next(&mut self) -> Next {
        let mut queue = self.shared.queue();
        if queue.pending.is_empty() {
            return if queue.closing { Next::Stop } else { Next::Wait };
        }
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + self.shared.limits.relaxed_delay);
        if queue.urgent || queue.closing || now >= deadline {
            self.deadline = None;
            Next::Commit(queue.take())
        } else {
            Next::WaitUntil(deadline)
        }
    }

    async fn commit(&mut self, group: Group) {
        self.in_flight = Some(group.commit.clone());
        let flushes = match self.log.as_mut() {
            Some(log) => write_down(log, &group).await,
            None => Ok(0),
        };
        let Group { events, state, revision, commit } = group;
        match flushes {
            Ok(flushes) => {
                let writes = events.len() as u64;
                self.feed.publish(Published { revision, state, events, complete: true });
                commit.finish(None);
                let reclaimed = self.log.as_mut().map_or(Ok(()), Log::reclaim);
                self.count(writes, flushes);
                if let Err(error) = reclaimed {
                    self.fail(error);
                }
            }
            Err(error) => {
                let failure = self.fail(error);
                commit.finish(Some(failure));
            }
        }
        self.in_flight = None;
    }

    fn fail(&self, error: io::Error) -> Arc<io::Error> {
        error!(%error, "the store takes no more writes until it is opened again; reads go on");
        self.shared.fail(error)
    }

    fn count(&self, writes: u64, flushes: u64) {
        let mut stats = self.shared.stats();
        stats.writes += writes;
        stats.flushes += flushes;
        if let Some(log) = self.log.as_ref().map(Log::stats) {
            stats.log_bytes = log.used_bytes;
            stats.live_bytes = log.live_bytes;
            stats.log_segments = log.segments;
            stats.copied_bytes = log.copied_bytes;
        }
    }
}

/// Answers how many flushes it took.
async fn write_down(log: &mut Log, group: &Group) -> io::Result<u64> {
    let mut flushes = 0;
    let mut frames = frames(&group.events).peekable();
    while let Some(events) = frames.next() {
        log.write(events, frames.peek().is_none().then_some(&group.state))?;
        let delay = log.flush_delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        log.flush()?;
        flushes += 1;
    }
    Ok(flushes)
}

impl Drop for Committer {
    /// However it ends, also with a panic or with its runtime: nobody is left waiting.
    fn drop(&mut self) {
        let orderly = self.in_flight.is_none() && self.shared.queue().is_drained();
        if !orderly {
            let failure = self.fail(io::Error::other("the committer stopped before its work was done"));
            self.in_flight.take().into_iter().for_each(|commit| commit.finish(Some(failure.clone())));
        }
        self.feed.close();
        // Lets go of the disk before anybody is told.
        self.log = None;
        let failure = self.shared.queue().failure.clone();
        self.shared.stopped.finish(failure);
    }
}
