//! A write: compare and change in one transaction, and finding out what became of it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::cluster::GIVE_UP;
use super::failure::Reason as _;
use super::grpc::Failure;
use super::proto::Message;
use super::rpc::{self, Done, Found};
use super::shared::{Shared, failed};
use super::value;
use crate::backend::Change;
use crate::channel::Read;
use crate::draft::Filling;
use crate::{Action, Draft, Entry, Event, Key, Memo, Revision, StoreError};

/// etcd's `--max-request-bytes`, when it says that something is larger.
const MAX_REQUEST_BYTES: usize = 3 << 19;

/// What a write needs to be recognised by.
struct Attempt<'a> {
    key: &'a Key,
    /// The same in etcd.
    path: Vec<u8>,
    deletes: bool,
    /// Where it leaves what no other write has: in the object that it stores, or beside the one it deletes.
    marked: Vec<u8>,
    mark: Bytes,
    /// The write happens after this revision, if at all.
    after: Revision,
}

pub(crate) async fn write(shared: &Shared, change: Change) -> Result<Arc<Entry>, StoreError> {
    let Change { key, action, unless_newer, .. } = change;
    let path = shared.layout.encode(&key);
    let (deletes, marked, mark) = match &action {
        Action::Create(draft) | Action::Update { draft, .. } => (false, path.clone(), shared.value(&key, draft)),
        Action::Delete { .. } => (true, shared.layout.of_deletions(), value::mark().into()),
    };
    let expected = match &action {
        Action::Create(_) => 0,
        // Nothing is at revision 0, but to etcd it means "no such key".
        Action::Update { expected, .. } | Action::Delete { expected, .. } => (*expected).max(1),
    };
    let after = shared.view().revision().max(expected);
    let attempt = Attempt { key: &key, path, deletes, marked, mark, after };
    let turn = unless_newer.map(|seen| (shared.layout.of_turns(&key.resource), seen));
    match attempt.carry_out(shared, &attempt.request(expected, turn)).await? {
        Outcome::Written(revision) => finish(shared, &key, &action, revision).await,
        Outcome::Refused(done) => Err(overtaken(shared, &action, expected, &done).await?),
    }
}

enum Outcome {
    Written(Revision),
    /// A comparison failed.
    Refused(Done),
}

impl Attempt<'_> {
    /// `turn`: a key that must not have changed since then, and changes with this write.
    fn request(&self, expected: Revision, turn: Option<(Vec<u8>, Revision)>) -> Message {
        let mine = rpc::equal(&self.path, rpc::MOD, expected);
        let unchanged = turn.as_ref().map(|(key, seen)| rpc::unchanged(key, *seen));
        let delete = self.deletes.then(|| rpc::op_delete(&self.path));
        let put = rpc::op_put(&self.marked, &self.mark);
        let passed = turn.as_ref().map(|(key, _)| rpc::op_put(key, b""));
        let then = delete.into_iter().chain([put]).chain(passed);
        rpc::txn([mine].into_iter().chain(unchanged), then, rpc::op_get(&self.path))
    }

    async fn carry_out(&self, shared: &Shared, request: &Message) -> Result<Outcome, StoreError> {
        let start = Instant::now();
        let mut doubtful = false;
        loop {
            match shared.cluster.ask_once(rpc::TXN, request).await {
                Ok(answer) => {
                    let done = Done::parse(&answer).map_err(|malformed| failed(malformed.into()))?;
                    return self.judge(shared, done, doubtful).await;
                }
                Err(failure) if failure.is_passing() && start.elapsed() < GIVE_UP => {
                    // It may have happened, and been undone since: looking comes before trying again.
                    doubtful = true;
                    shared.catch_up().await?;
                    if let Some(revision) = self.find(shared).await? {
                        return Ok(Outcome::Written(revision));
                    }
                }
                Err(failure) => return Err(self.refused(failure)),
            }
        }
    }

    async fn judge(&self, shared: &Shared, done: Done, doubtful: bool) -> Result<Outcome, StoreError> {
        if done.succeeded {
            return Ok(Outcome::Written(done.revision));
        }
        if doubtful {
            // What stands in the way may be our own: it happened after we looked.
            shared.reach(done.revision).await?;
            if let Some(revision) = self.find(shared).await? {
                return Ok(Outcome::Written(revision));
            }
        }
        Ok(Outcome::Refused(done))
    }

    fn refused(&self, failure: Failure) -> StoreError {
        if failure.is_too_large() {
            return StoreError::TooLarge { size: self.mark.len(), limit: MAX_REQUEST_BYTES };
        }
        failed(failure)
    }

    /// The revision at which an earlier try was carried out, if it was.
    async fn find(&self, shared: &Shared) -> Result<Option<Revision>, StoreError> {
        for event in events(shared, self.key, self.after)? {
            if self.is_mine(shared, &event).await? {
                return Ok(Some(event.revision));
            }
        }
        // What etcd has forgotten nobody can look for.
        match shared.view().missed_after(self.after) {
            Some(oldest) => Err(StoreError::Compacted { requested: self.after, oldest }),
            None => Ok(None),
        }
    }

    async fn is_mine(&self, shared: &Shared, event: &Event) -> Result<bool, StoreError> {
        if event.deleted != self.deletes {
            return Ok(false);
        }
        let then = rpc::page(&self.marked, &[], 1, event.revision);
        let answer = shared.cluster.ask(rpc::RANGE, &then).await.map_err(failed)?;
        let found = Found::parse(&answer).map_err(|malformed| failed(malformed.into()))?;
        Ok(found.kvs.first().is_some_and(|kv| kv.modified == event.revision && kv.value == self.mark))
    }
}

/// Every event of the key after a revision.
fn events(shared: &Shared, key: &Key, after: Revision) -> Result<Vec<Event>, StoreError> {
    let channel = shared.view().channel(&key.resource);
    let (mut found, mut at) = (Vec::new(), after);
    loop {
        match channel.read(at, |event| event.entry.key == *key) {
            Read::Batch(batch) => {
                found.extend(batch.iter().filter(|e| e.revision > at && e.entry.key == *key).cloned());
                at = batch.last().map_or(at, |event| event.revision);
            }
            Read::Lost(oldest) => return Err(StoreError::Compacted { requested: after, oldest }),
            Read::Empty | Read::Closed => return Ok(found),
        }
    }
}

/// The write is done: answers once everybody sees it.
async fn finish(shared: &Shared, key: &Key, action: &Action, revision: Revision) -> Result<Arc<Entry>, StoreError> {
    shared.reach(revision).await?;
    let event = events(shared, key, revision - 1)?.into_iter().find(|event| event.revision == revision);
    match (action, event) {
        (Action::Create(_) | Action::Update { .. }, Some(event)) => Ok(event.entry),
        (Action::Create(draft) | Action::Update { draft, .. }, None) => Ok(filled(key, draft, revision, revision)),
        (Action::Delete { last, expected }, event) => {
            let created = event.and_then(|event| event.previous).map_or(*expected, |entry| entry.created);
            Ok(filled(key, last, revision, created))
        }
    }
}

fn filled(key: &Key, draft: &Draft, revision: Revision, created: Revision) -> Arc<Entry> {
    let json = Filling::new(draft.clone(), revision).finish(revision);
    Arc::new(Entry { key: key.clone(), revision, created, json, memo: Memo::default() })
}

/// What kept the write from happening. The caller will look again, and shall find it.
async fn overtaken(
    shared: &Shared,
    action: &Action,
    expected: Revision,
    done: &Done,
) -> Result<StoreError, StoreError> {
    // The key itself is as it should be.
    if done.found.as_ref().map_or(0, |kv| kv.modified) == expected {
        return Ok(StoreError::Overtaken);
    }
    let Some(kv) = &done.found else {
        shared.reach(done.revision).await?;
        return Ok(StoreError::NotFound);
    };
    shared.reach(kv.modified).await?;
    if matches!(action, Action::Create(_)) {
        return Ok(StoreError::Exists);
    }
    let state = shared.view().snapshot();
    let newest = shared.layout.decode(&kv.key).and_then(|key| state.find(&key).cloned());
    let newest = newest.filter(|entry| entry.revision == kv.modified).or_else(|| shared.entry(kv, state.state()));
    newest.map_or_else(|| Err(failed(super::proto::Malformed.into())), |entry| Ok(StoreError::Conflict(entry)))
}
