//! The one watch: every change of the cluster, in order, once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::cluster::RETRY;
use super::diff::{deletion, diff};
use super::failure::Reason as _;
use super::grpc::{Failure, Stream, framed};
use super::list::{list, oldest_after};
use super::proto::Message;
use super::rpc::{self, Changed, Watched};
use super::shared::{PROGRESS_PERIOD, Shared};
use crate::backend::Published;
use crate::{Event, Revision, State};

/// Revisions before the newest from which on watches and exact reads are served after a start, unless
/// compacted by then: what clients of the process before this one come back with.
const REMEMBERED: Revision = 4096;

pub(crate) struct Follower {
    shared: Arc<Shared>,
    /// What was told last.
    pub state: State,
    pub revision: Revision,
    /// With the number of its connection.
    stream: Option<(u64, Stream)>,
    moves: watch::Receiver<u64>,
    /// Events whose rest is still to come.
    partial: Vec<Changed>,
}

impl Follower {
    /// Some way before `newest`, if what happened since then is not forgotten.
    pub async fn start(shared: Arc<Shared>, newest: Revision) -> Result<Follower, Failure> {
        let moves = shared.cluster.moves();
        let mut from = newest.saturating_sub(REMEMBERED).max(1);
        loop {
            match list(&shared, from).await {
                Ok((revision, state)) => {
                    return Ok(Follower { shared, state, revision, stream: None, moves, partial: Vec::new() });
                }
                Err(failure) if failure.is_compacted() => from = oldest_after(&shared, from).await?,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// What happened next. Waits for it, however often the connection breaks.
    pub async fn next(&mut self) -> Published {
        let mut failures = 0;
        loop {
            match self.try_next().await {
                Ok(Some(published)) => return published,
                Ok(None) => failures = 0,
                Err(failure) => {
                    if let Some((line, _)) = self.stream.take() {
                        self.shared.cluster.give_up(line);
                    }
                    self.partial.clear();
                    if failures == 0 {
                        warn!(%failure, revision = self.revision, "the watch of etcd broke; going on from there");
                    }
                    failures += 1;
                    sleep(RETRY.delay(failures)).await;
                }
            }
        }
    }

    /// Like `next`, but asks for word of progress: what comes next may not concern us.
    pub async fn next_soon(&mut self) -> Published {
        let shared = self.shared.clone();
        let mut next = std::pin::pin!(self.next());
        let mut waited = 0;
        loop {
            shared.nudge.notify_one();
            tokio::select! {
                biased;
                published = &mut next => return published,
                // Tried again when it failed.
                () = sleep(PROGRESS_PERIOD) => drop(shared.push(&mut waited).await),
            }
        }
    }

    /// `None`: an answer that says nothing about objects.
    async fn try_next(&mut self) -> Result<Option<Published>, Failure> {
        let watched = self.receive().await?;
        if watched.compacted > 0 {
            return self.relist(watched.compacted).await.map(Some);
        }
        if watched.canceled {
            return Err(Failure::Broken(format!("the watch was cancelled: {}", watched.reason)));
        }
        if watched.created {
            return Ok(None);
        }
        let progress = watched.changes.is_empty();
        self.partial.extend(watched.changes);
        if watched.fragment || progress && (watched.revision <= self.revision || !self.partial.is_empty()) {
            return Ok(None);
        }
        // Only word of progress promises that there is nothing more up to the cluster's revision.
        let last = self.partial.last().map_or(watched.revision, |change| change.kv.modified);
        let events = std::mem::take(&mut self.partial).iter().filter_map(|change| self.apply(change)).collect();
        self.revision = last;
        Ok(Some(Published { revision: last, state: self.state.clone(), events, complete: true }))
    }

    async fn receive(&mut self) -> Result<Watched, Failure> {
        let (line, stream) = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let root = self.shared.layout.root();
                let request = rpc::watch(root, &rpc::end_of(root), self.revision + 1);
                let status = self.shared.cluster.ask(rpc::STATUS, &Message::default()).await?;
                self.shared.asks_progress.store(rpc::orders_progress(&status)?, Ordering::Relaxed);
                self.stream.insert(self.shared.cluster.stream(rpc::WATCH, &request).await?)
            }
        };
        let line = *line;
        loop {
            tokio::select! {
                biased;
                answer = stream.answers.next() => {
                    let answer = answer?.ok_or_else(|| Failure::Broken("the watch ended".into()))?;
                    return Ok(Watched::parse(&answer)?);
                }
                _ = self.moves.wait_for(|given_up| *given_up >= line) => {
                    return Err(Failure::Broken("others found this member silent".into()));
                }
                () = self.shared.nudge.notified() => {
                    if !self.shared.asks_progress.load(Ordering::Relaxed) {
                        continue;
                    }
                    // A full queue means that it was asked already.
                    let _ = stream.requests.try_send(framed(&rpc::watch_progress()));
                }
            }
        }
    }

    fn apply(&mut self, change: &Changed) -> Option<Event> {
        let kv = &change.kv;
        if change.deleted {
            let removed = self.state.remove(&self.shared.layout.decode(&kv.key)?)?;
            return deletion(&removed, kv.modified);
        }
        let entry = self.shared.entry(kv, &self.state)?;
        let previous = self.state.put(entry.clone());
        Some(Event { revision: kv.modified, entry, previous, deleted: false })
    }

    /// Events that we have not seen are gone: what they came to is what is new.
    async fn relist(&mut self, compacted: Revision) -> Result<Published, Failure> {
        info!(seen = self.revision, compacted, "etcd has forgotten what happened since; comparing states");
        let (revision, state) = match list(&self.shared, compacted).await {
            Err(failure) if failure.is_compacted() => list(&self.shared, 0).await?,
            result => result?,
        };
        let events = diff(&self.state, &state, revision);
        (self.state, self.revision, self.stream) = (state, revision, None);
        Ok(Published { revision, state: self.state.clone(), events, complete: false })
    }
}
