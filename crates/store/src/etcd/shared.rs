//! What reads, writes and the follower of one etcd cluster have in common.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, GIVE_UP};
use super::fence::Fence;
use super::grpc::Failure;
use super::layout::Layout;
use super::rpc::{self, Found, KeyValue};
use super::value;
use crate::view::View;
use crate::{Draft, Entry, Feed, Kept, Key, Memo, Revision, State, StoreError, Transformer, transform};

/// Upstream's progressRequestPeriod: a member that is busy catching up does not answer.
pub(crate) const PROGRESS_PERIOD: Duration = Duration::from_millis(100);

/// Where asking does not help: that many periods without an event, and one is made.
const PUSH_PERIODS: u32 = 10;

pub(crate) struct Shared {
    pub cluster: Cluster,
    pub layout: Layout,
    transformer: Option<Arc<dyn Transformer>>,
    pub fence: Fence,
    /// Asks the follower how far it is, though nothing of ours may have changed.
    pub nudge: Notify,
    /// Whether it can find out by asking.
    pub asks_progress: AtomicBool,
    pub feed: OnceLock<Feed>,
    pub stop: CancellationToken,
}

impl Shared {
    pub fn new(cluster: Cluster, layout: Layout, transformer: Option<Arc<dyn Transformer>>) -> Shared {
        Shared {
            cluster,
            layout,
            transformer,
            fence: Fence::default(),
            nudge: Notify::new(),
            asks_progress: AtomicBool::new(true),
            feed: OnceLock::new(),
            stop: CancellationToken::new(),
        }
    }

    pub fn view(&self) -> &Arc<View> {
        &self.feed.get().expect("a backend is followed before it is used").view
    }

    /// The cluster's revision: at least that of every write acknowledged before the call.
    pub async fn newest(&self) -> Result<Revision, Failure> {
        self.fence.pass(|| async { Ok(self.get(&self.health_key()).await?.revision) }).await
    }

    /// Until everything acknowledged before the call is published.
    pub async fn catch_up(&self) -> Result<Revision, StoreError> {
        let newest = self.newest().await.map_err(failed)?;
        self.reach(newest).await?;
        Ok(newest)
    }

    /// A linearizable read of one key.
    pub async fn get(&self, key: &[u8]) -> Result<Found, Failure> {
        let answer = self.cluster.ask(rpc::RANGE, &rpc::get(key)).await?;
        Ok(Found::parse(&answer)?)
    }

    /// The key that upstream's health check reads. It need not exist.
    fn health_key(&self) -> Vec<u8> {
        [self.layout.root(), b"health"].concat()
    }

    /// Waits until `revision`, which the cluster has reached, is published.
    pub async fn reach(&self, revision: Revision) -> Result<(), StoreError> {
        timeout(GIVE_UP, self.approach(revision)).await.unwrap_or_else(|_| Err(failed(Failure::TimedOut)))
    }

    /// The same for any revision, also when what it stands for is not ours.
    pub async fn approach(&self, revision: Revision) -> Result<(), StoreError> {
        let view = self.view();
        let mut waited = 0;
        while view.revision() < revision {
            self.nudge.notify_one();
            tokio::select! {
                biased;
                reached = view.wait_for(revision) => return reached,
                () = sleep(PROGRESS_PERIOD) => self.push(&mut waited).await.map_err(failed)?,
            }
        }
        Ok(())
    }

    /// Where progress is not told reliably, a change of ours that comes later says as much.
    /// To be called after every period of waiting.
    pub async fn push(&self, waited: &mut u32) -> Result<(), Failure> {
        *waited += 1;
        if self.asks_progress.load(Ordering::Relaxed) || !waited.is_multiple_of(PUSH_PERIODS) {
            return Ok(());
        }
        let key = [self.layout.root(), b"progress"].concat();
        let put = rpc::op_put(&key, b"");
        self.cluster.ask(rpc::TXN, &rpc::unconditionally(put)).await.map(drop)
    }

    /// What to store of an object: unlike any other write's, and sealed.
    pub fn value(&self, key: &Key, draft: &Draft) -> Bytes {
        let json = value::marked(draft);
        let transformer = self.transformer.as_deref().filter(|sealing| sealing.generation(&key.resource) > 0);
        let sealed = transformer.and_then(|transformer| transformer.seal(&key.resource, &key.path(), &json));
        sealed.map_or(json, Bytes::from)
    }

    /// The entry that is stored as `kv`; `None` when the key is no object's.
    pub fn entry(&self, kv: &KeyValue, state: &State) -> Option<Arc<Entry>> {
        let key = state.interned(self.layout.decode(&kv.key)?);
        let (json, mut kept) = transform::open(self.transformer.as_deref(), &key, &kv.value);
        let json = match &kept {
            Some(Kept::Unreadable { .. }) => json,
            _ => value::at_revision(&json, kv.modified).unwrap_or_else(|error| {
                kept = Some(Kept::Unreadable { why: error.to_string().into(), sealed: kv.value.clone() });
                Bytes::new()
            }),
        };
        Some(Arc::new(Entry { key, revision: kv.modified, created: kv.created, json, memo: memo(kept) }))
    }
}

/// Knows how the bytes are kept.
pub(crate) fn memo(kept: Option<Kept>) -> Memo {
    let memo = Memo::default();
    if let Some(kept) = kept {
        memo.kept.set(kept).expect("it is new");
    }
    memo
}

pub(crate) fn failed(failure: Failure) -> StoreError {
    StoreError::Io(Arc::new(io::Error::other(failure)))
}
