//! The backend over an etcd v3 cluster, which several API servers may share.
//!
//! Reads are served from memory here as well: one watch keeps it up to date, and a read that must be the
//! newest asks etcd how far that is. A write is one transaction that compares the key's revision; etcd
//! gathers what many connections send into one flush, so writes go out as they come.
//!
//! * revisions are etcd's, so others' writes to the same etcd leave gaps in ours;
//! * no request is repeated that must not happen twice: every write carries a mark of its own;
//! * one connection at a time; its end, or a member's silence, moves everybody to the next member.

mod cluster;
mod compact;
mod connect;
mod diff;
mod failure;
mod fence;
mod follow;
mod layout;
mod list;
mod rpc;
mod shared;
mod sim;
mod value;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
pub use orlop_base::grpc::Failure as EtcdError;
use orlop_base::{grpc, protobuf as proto};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::backend::{Backend, BackendStats, Change, Feed, Loaded, OpenError};
use crate::{Entry, Key, Revision, StoreError, Transformer};
use cluster::{Cluster, GIVE_UP};
use connect::Endpoint;
use follow::Follower;
use layout::Layout;
use shared::Shared;
pub use sim::{EtcdFaults, SimEtcd};

/// Writes under way; more wait. etcd itself refuses when 5000 are not applied.
const MAX_WRITES: u32 = 1024;

/// Which cluster, and where in it.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// Client URLs, `http://` or `https://`.
    pub servers: Vec<String>,
    /// For `https://`: whom to trust and who we are.
    pub tls: Option<rustls::ClientConfig>,
    /// In front of every key: `/registry`.
    pub prefix: String,
    /// Storage keys of built-in kinds (`apps/deployments`); upstream leaves their group out.
    pub builtin: Vec<String>,
    /// Objects are sealed by this on their way to etcd.
    pub transformer: Option<Arc<dyn Transformer>>,
    /// How often what is older than that is forgotten; zero: others see to it.
    pub compaction_interval: Duration,
}

pub(crate) struct Etcd {
    servers: String,
    shared: Arc<Shared>,
    compaction_interval: Duration,
    writes: Semaphore,
    written: AtomicU64,
    /// From `load` to `follow`.
    follower: Mutex<Option<Follower>>,
}

impl Etcd {
    pub fn new(config: EtcdConfig) -> Result<Etcd, OpenError> {
        let endpoints = config.servers.iter().map(|url| Endpoint::parse(url, config.tls.as_ref()));
        let endpoints: Result<Vec<_>, _> = endpoints.collect();
        let endpoints = endpoints.map_err(OpenError::Servers)?;
        if endpoints.is_empty() {
            return Err(OpenError::Servers("no etcd server is named".into()));
        }
        Ok(Etcd::over(endpoints, config))
    }

    /// Over as many members as `config` names servers, of a simulated cluster.
    pub fn simulated(etcd: &SimEtcd, config: EtcdConfig) -> Etcd {
        let member = |_| {
            let etcd = etcd.clone();
            Endpoint::local("simulated", move || etcd.connect())
        };
        Etcd::over(config.servers.iter().map(member).collect(), config)
    }

    fn over(endpoints: Vec<Endpoint>, config: EtcdConfig) -> Etcd {
        let layout = Layout::new(&config.prefix, config.builtin.iter().map(String::as_str));
        Etcd {
            servers: config.servers.join(","),
            shared: Arc::new(Shared::new(Cluster::new(endpoints), layout, config.transformer)),
            compaction_interval: config.compaction_interval,
            writes: Semaphore::new(MAX_WRITES as usize),
            written: AtomicU64::new(0),
            follower: Mutex::default(),
        }
    }

    async fn try_load(&self) -> Result<(Loaded, Follower), EtcdError> {
        let newest = self.shared.newest().await?;
        let mut follower = Follower::start(self.shared.clone(), newest).await?;
        let mut events = Vec::new();
        while follower.revision < newest {
            let next = timeout(GIVE_UP, follower.next_soon()).await;
            events.extend(next.map_err(|_| EtcdError::TimedOut)?.events);
        }
        let loaded = Loaded { revision: follower.revision, state: follower.state.clone(), events, torn: None };
        Ok((loaded, follower))
    }

    fn follower(&self) -> std::sync::MutexGuard<'_, Option<Follower>> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Etcd {
    fn load(&self) -> BoxFuture<'_, Result<Loaded, OpenError>> {
        Box::pin(async {
            let failed = |source| OpenError::Etcd { servers: self.servers.clone(), source };
            let (loaded, follower) = self.try_load().await.map_err(failed)?;
            *self.follower() = Some(follower);
            Ok(loaded)
        })
    }

    fn follow(&self, feed: Feed) {
        let mut follower = self.follower().take().expect("a backend is loaded, then followed, once each");
        let first = self.shared.feed.set(feed.clone()).is_ok();
        assert!(first, "a backend is followed once");
        let stop = self.shared.stop.clone();
        orlop_base::task::spawn(async move {
            while let Some(published) = stop.run_until_cancelled(follower.next()).await {
                feed.publish(published);
            }
            feed.close();
        });
        if !self.compaction_interval.is_zero() {
            let (shared, interval) = (self.shared.clone(), self.compaction_interval);
            orlop_base::task::spawn(
                async move { shared.stop.run_until_cancelled(compact::run(&shared, interval)).await },
            );
        }
    }

    fn write(&self, change: Change) -> BoxFuture<'_, Result<Arc<Entry>, StoreError>> {
        Box::pin(async {
            let _turn = self.writes.acquire().await.map_err(|_| StoreError::Closed)?;
            let entry = write::write(&self.shared, change).await?;
            self.written.fetch_add(1, Ordering::Relaxed);
            Ok(entry)
        })
    }

    fn newest(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared.view().snapshot().find(key).cloned()
    }

    fn read_fence(&self, _resource: &str) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(self.shared.catch_up())
    }

    fn reach(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.approach(revision))
    }

    /// Nobody is told of a write before it is published.
    fn promised(&self) -> Revision {
        self.shared.view().revision()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.shared.catch_up().await.map(drop) })
    }

    fn stats(&self) -> BackendStats {
        BackendStats {
            writes: self.written.load(Ordering::Relaxed),
            failure: self.shared.cluster.trouble(),
            ..BackendStats::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            // Those who come from now on wait behind this, and then find it closed.
            let finished = self.writes.acquire_many(MAX_WRITES).await;
            self.writes.close();
            drop(finished);
            self.shared.stop.cancel();
            self.shared.feed.get().inspect(|feed| feed.close());
            Ok(())
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
