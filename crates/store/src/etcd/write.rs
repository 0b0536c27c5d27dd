//! A write: compare and change in one transaction, and finding out what became of it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::cluster::GIVE_UP;
use super::grpc::Failure;
use super::proto::Message;
use super::rpc::{self, Done, Found};
use super::shared::{Shared, failed};
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
    /// What a create or update stores; with a mark that no other write has.
    value: Option<Bytes>,
    /// The write happens after this revision, if at all.
    after: Revision,
}

pub(crate) async fn write(shared: &Shared, change: Change) -> Result<Arc<Entry>, StoreError> {
    let Change { key, action, unless_newer, .. } = change;
    let value = match &action {
        Action::Create(draft) | Action::Update { draft, .. } => Some(shared.value(&key, draft)),
        Action::Delete { .. } => None,
    };
    let expected = match &action {
        Action::Create(_) => 0,
        // Nothing is at revision 0, but to etcd it means "no such key".
        Action::Update { expected, .. } | Action::Delete { expected, .. } => (*expected).max(1),
    };
    let after = if expected == 0 { shared.view().revision() } else { expected };
    let attempt = Attempt { key: &key, path: shared.layout.encode(&key), value, after };
    let unchanged = unless_newer.map(|seen| {
        let root = shared.layout.of_resource(&key.resource).into_bytes();
        rpc::unchanged(&root, &rpc::end_of(&root), seen)
    });
    match attempt.carry_out(shared, &attempt.request(expected, unchanged)).await? {
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
    fn request(&self, expected: Revision, unchanged: Option<Message>) -> Message {
        let then = match &self.value {
            Some(value) => rpc::op_put(&self.path, value),
            None => rpc::op_delete(&self.path),
        };
        let mine = rpc::equal(&self.path, rpc::MOD, expected);
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
            let size = self.value.as_ref().map_or(0, Bytes::len);
            return StoreError::TooLarge { size, limit: MAX_REQUEST_BYTES };
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
        Ok(None)
    }

    async fn is_mine(&self, shared: &Shared, event: &Event) -> Result<bool, StoreError> {
        match &self.value {
            // The object is gone, as it was when this was asked for: who was faster does not matter.
            None => Ok(event.deleted && event.previous.as_ref().is_some_and(|entry| entry.revision == self.after)),
            Some(_) if event.deleted => Ok(false),
            Some(value) => {
                let then = rpc::page(&self.path, &[], 1, event.revision);
                let answer = shared.cluster.ask(rpc::RANGE, &then).await.map_err(failed)?;
                let found = Found::parse(&answer).map_err(|malformed| failed(malformed.into()))?;
                Ok(found.kvs.first().is_some_and(|kv| kv.value == *value))
            }
        }
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
