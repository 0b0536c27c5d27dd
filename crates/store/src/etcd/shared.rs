//! What reads, writes and the follower of one etcd cluster have in common.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
use crate::{Entry, Feed, Memo, Revision, State, StoreError};

/// Upstream's progressRequestPeriod: a member that is busy catching up does not answer.
pub(crate) const PROGRESS_PERIOD: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    pub cluster: Cluster,
    pub layout: Layout,
    pub fence: Fence,
    /// Asks the follower how far it is, though nothing of ours may have changed.
    pub nudge: Notify,
    /// Whether it can find out by asking.
    pub asks_progress: AtomicBool,
    pub feed: OnceLock<Feed>,
    pub stop: CancellationToken,
}

impl Shared {
    pub fn new(cluster: Cluster, layout: Layout) -> Shared {
        Shared {
            cluster,
            layout,
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

    /// Waits until `revision` is published, also when what it stands for is not ours.
    pub async fn reach(&self, revision: Revision) -> Result<(), StoreError> {
        let view = self.view();
        let reaching = async {
            while view.revision() < revision {
                self.nudge.notify_one();
                tokio::select! {
                    reached = view.wait_for(revision) => return reached,
                    () = sleep(PROGRESS_PERIOD) => self.push().await.map_err(failed)?,
                }
            }
            Ok(())
        };
        timeout(GIVE_UP, reaching).await.unwrap_or_else(|_| Err(failed(Failure::TimedOut)))
    }

    /// Where progress is not told reliably, a change of ours that comes later says as much.
    pub async fn push(&self) -> Result<(), Failure> {
        if self.asks_progress.load(Ordering::Relaxed) {
            return Ok(());
        }
        let key = [self.layout.root(), b"progress"].concat();
        let put = rpc::op_put(&key, b"");
        self.cluster.ask(rpc::TXN, &rpc::unconditionally(put)).await.map(drop)
    }

    /// The entry that is stored as `kv`; `None`, and a line in the log, when it is no object of ours.
    pub fn entry(&self, kv: &KeyValue, state: &State) -> Option<Arc<Entry>> {
        let key = self.layout.decode(&kv.key)?;
        match value::at_revision(&kv.value, kv.modified) {
            Ok(json) => {
                let key = state.interned(key);
                Some(Arc::new(Entry { key, revision: kv.modified, created: kv.created, json, memo: Memo::default() }))
            }
            Err(error) => {
                let key = String::from_utf8_lossy(&kv.key);
                tracing::error!(%key, %error, "left out what is stored here: it is not JSON");
                None
            }
        }
    }
}

pub(crate) fn failed(failure: Failure) -> StoreError {
    StoreError::Io(Arc::new(io::Error::other(failure)))
}
