//! The backend inside this process: one counter, one queue of writes, one committer.
//!
//! A write decides under a short lock against the newest state and joins the queue. The committer
//! takes the whole queue at once, makes it durable and publishes it: while it flushes, the next
//! group gathers. Nothing holds the lock during I/O.

mod commit;
mod committer;
mod log;
mod open;
mod queue;
mod shared;

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use crate::backend::{Backend, BackendStats, Change, Feed, Loaded, OpenError};
use crate::{Config, Entry, Key, Revision, StoreError};
use committer::Committer;
use log::Log;
use open::Host;
use queue::Queue;
use shared::{Shared, lock};

pub(crate) struct Embedded {
    config: Config,
    shared: Arc<Shared>,
    /// From `load` to `follow`.
    opened: Mutex<Option<(Option<Log>, Host)>>,
}

impl Embedded {
    pub fn new(config: Config) -> Embedded {
        let shared = Arc::new(Shared::new(config.limits.clone()));
        Embedded { config, shared, opened: Mutex::new(None) }
    }
}

impl Backend for Embedded {
    fn load(&self) -> BoxFuture<'_, Result<Loaded, OpenError>> {
        Box::pin(async {
            let opened = open::open(&self.config).await?;
            let loaded = opened.loaded;
            *self.shared.queue() = Queue::new(loaded.revision, loaded.state.clone());
            *lock(&self.opened) = Some((opened.log, opened.host));
            Ok(loaded)
        })
    }

    fn follow(&self, feed: Feed) {
        let (log, host) = lock(&self.opened).take().expect("a backend is loaded, then followed, once each");
        let first = self.shared.feed.set(feed.clone()).is_ok();
        assert!(first, "a backend is followed once");
        let committer = Committer::new(self.shared.clone(), feed, log);
        match host {
            Host::Task => drop(orlop_base::task::spawn(committer.run())),
            Host::Thread => committer.run_on_thread(),
        }
    }

    fn write(&self, change: Change) -> BoxFuture<'_, Result<Arc<Entry>, StoreError>> {
        Box::pin(self.shared.write(change))
    }

    fn newest(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared.queue().newest.find(key).cloned()
    }

    fn read_fence(&self, resource: &str) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(std::future::ready(Ok(self.shared.read_fence(resource))))
    }

    fn reach(&self, revision: Revision) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.reach(revision))
    }

    fn promised(&self) -> Revision {
        self.shared.queue().revision
    }

    fn stats(&self) -> BackendStats {
        self.shared.stats().clone()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.stop();
        Box::pin(self.shared.stopped.wait())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
