//! The one who makes groups durable.

use std::sync::Arc;

use tokio::time::Instant;

use super::Shared;
use super::queue::Group;
use crate::backend::{Feed, Published};

pub(crate) struct Committer {
    pub shared: Arc<Shared>,
    pub feed: Feed,
}

/// What the queue asks for.
enum Next {
    Commit(Group),
    WaitUntil(Instant),
    Wait,
    Stop,
}

impl Committer {
    pub async fn run(self) {
        loop {
            match self.next() {
                Next::Commit(group) => self.commit(group),
                Next::Wait => self.shared.bell.notified().await,
                Next::WaitUntil(deadline) => {
                    let _ = tokio::time::timeout_at(deadline, self.shared.bell.notified()).await;
                }
                Next::Stop => break,
            }
        }
        self.feed.close();
        self.shared.stopped.finish(None);
    }

    fn next(&self) -> Next {
        let mut queue = self.shared.queue();
        let Some(since) = queue.since else {
            return if queue.closing { Next::Stop } else { Next::Wait };
        };
        let deadline = since + self.shared.limits.relaxed_delay;
        if queue.urgent || queue.closing || Instant::now() >= deadline {
            Next::Commit(queue.take())
        } else {
            Next::WaitUntil(deadline)
        }
    }

    fn commit(&self, group: Group) {
        let Group { events, state, revision, commit } = group;
        {
            let mut stats = self.shared.stats();
            stats.writes += events.len() as u64;
            stats.flushes += 1;
        }
        self.feed.publish(Published { revision, state, events });
        commit.finish(None);
    }
}
