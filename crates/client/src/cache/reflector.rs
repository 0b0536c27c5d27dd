//! Keeps one cache equal to the server: one watch, started over when it must be.
//!
//! Prefers WatchList (KEP-3157): what exists arrives as events of the same watch. A server that
//! does not know it answers with an error and is listed instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use orlop_base::backoff::Backoff;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::factory::Selection;
use super::item::Item;
use super::store::Store;
use crate::api::Api;
use crate::client::jitter;
use crate::error::{Error, Result};
use crate::params::WatchOptions;
use crate::watch::{Watch, WatchEvent};

/// client-go's reflector: 800 ms doubling to 30 s.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(800), max: Duration::from_secs(30) };

/// A watch that ends sooner without an event is a failure (client-go's "very short watch").
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// Events taken together when many are ready, so that readers and observers see one new state.
const MAX_BATCH: usize = 256;

/// Runs until the cache's last handle is dropped or `shutdown` is cancelled.
pub(super) async fn run(api: Api<Item>, which: Selection, cache: Weak<Store>, shutdown: CancellationToken) {
    let Some(stopped) = cache.upgrade().map(|c| c.stopped()) else { return };
    let reflector = Reflector { api, which, cache, position: Position::Unknown, watch_list: true };
    shutdown.run_until_cancelled_owned(stopped.run_until_cancelled_owned(reflector.run())).await;
}

struct Reflector {
    api: Api<Item>,
    which: Selection,
    cache: Weak<Store>,
    position: Position,
    /// Until the server refuses it.
    watch_list: bool,
}

/// Where the next watch starts.
enum Position {
    Unknown,
    /// Everything up to this revision is in the cache.
    After(String),
}

/// Why a watch is over.
enum End {
    /// The server ended it; the next one continues.
    Finished,
    /// The cache has no handles left.
    Dropped,
}

impl Reflector {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let (result, progressed) = self.session().await;
            if progressed {
                failures = 0;
            }
            match result {
                Ok(End::Dropped) => return,
                Ok(End::Finished) if progressed => continue,
                Ok(End::Finished) => failures += 1,
                Err(error) => {
                    failures += 1;
                    self.give_up_on(&error);
                }
            }
            tokio::time::sleep(jitter(BACKOFF.delay(failures))).await;
        }
    }

    /// Adapts to what the server said, and logs it once.
    fn give_up_on(&mut self, error: &Error) {
        let resource = &self.api.resource().plural;
        if error.is_expired() {
            self.position = Position::Unknown;
            return;
        }
        // 422 and 400: sendInitialEvents is forbidden or unknown to this server.
        let refused = error.status().is_some_and(|s| matches!(s.code, 400 | 422));
        if refused && self.watch_list && matches!(self.position, Position::Unknown) {
            self.watch_list = false;
            tracing::debug!(%resource, "the server does not stream lists; listing instead");
            return;
        }
        tracing::warn!(%resource, error = %orlop_base::error::chain(error), "watching failed");
    }

    /// One list, if needed, and one watch. The flag: whether anything came of it.
    async fn session(&mut self) -> (Result<End>, bool) {
        let mut progressed = false;
        let result = self.list_and_watch(&mut progressed).await;
        (result, progressed)
    }

    async fn list_and_watch(&mut self, progressed: &mut bool) -> Result<End> {
        let mut watch = match (&self.position, self.watch_list) {
            (Position::Unknown, true) => {
                let mut watch = self.open("", true).await?;
                let Some((objects, revision)) = Box::pin(initial(&mut watch)).await? else { return Ok(End::Finished) };
                self.replace(objects, revision);
                *progressed = true;
                watch
            }
            (Position::Unknown, false) => {
                let list = Box::pin(self.api.list_all(&self.which.list())).await?;
                let revision = list.resource_version.clone();
                self.replace(list.items.into_iter().map(|item| (item.key(), item)).collect(), revision.clone());
                *progressed = true;
                self.open(&revision, false).await?
            }
            (Position::After(revision), _) => {
                let revision = revision.clone();
                self.open(&revision, false).await?
            }
        };
        let opened = Instant::now();
        let end = self.follow(&mut watch, progressed).await;
        *progressed |= opened.elapsed() >= SHORT_WATCH;
        end
    }

    async fn open(&self, revision: &str, send_initial_events: bool) -> Result<Watch<Item>> {
        let options = WatchOptions {
            label_selector: self.which.label_selector.clone(),
            field_selector: self.which.field_selector.clone(),
            resource_version: revision.to_owned(),
            bookmarks: true,
            send_initial_events,
            timeout_seconds: 0,
        };
        // Boxed, as lists are: only what an idle watch needs stays in the task.
        Box::pin(self.api.watch(&options)).await
    }

    fn replace(&mut self, objects: BTreeMap<Arc<str>, Item>, revision: String) {
        if let Some(cache) = self.cache.upgrade() {
            cache.replace(objects, number(&revision));
        }
        self.position = Position::After(revision);
    }

    async fn follow(&mut self, watch: &mut Watch<Item>, progressed: &mut bool) -> Result<End> {
        loop {
            let Some(first) = watch.next().await else { return Ok(End::Finished) };
            let Some(cache) = self.cache.upgrade() else { return Ok(End::Dropped) };
            let (batch, failure) = gather(first, watch);
            if let Some(revision) = batch.revision {
                cache.apply(batch.changes, number(&revision));
                self.position = Position::After(revision);
                *progressed = true;
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
    }
}

struct Batch {
    changes: Vec<(Arc<str>, Option<Item>)>,
    /// Of the last event.
    revision: Option<String>,
}

/// `first` and all that is ready right now, up to a limit or a failure.
fn gather(first: Result<WatchEvent<Item>>, watch: &mut Watch<Item>) -> (Batch, Option<Error>) {
    let mut batch = Batch { changes: Vec::new(), revision: None };
    let mut next = Some(first);
    while let Some(event) = next {
        let revision = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let revision = object.resource_version().to_owned();
                batch.changes.push((object.key(), Some(object)));
                revision
            }
            Ok(WatchEvent::Deleted(object)) => {
                batch.changes.push((object.key(), None));
                object.resource_version().to_owned()
            }
            Ok(WatchEvent::Bookmark { resource_version, .. }) => resource_version,
            Err(error) => return (batch, Some(error)),
        };
        batch.revision = Some(revision);
        if batch.changes.len() >= MAX_BATCH {
            break;
        }
        // An end seen here is seen again by the next real wait.
        next = watch.next().now_or_never().flatten();
    }
    (batch, None)
}

/// The initial events of a WatchList; `None` if the watch ended before they were complete.
async fn initial(watch: &mut Watch<Item>) -> Result<Option<(BTreeMap<Arc<str>, Item>, String)>> {
    let mut objects = BTreeMap::new();
    while let Some(event) = watch.next().await {
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                objects.insert(object.key(), object);
            }
            WatchEvent::Deleted(object) => {
                objects.remove(&object.key());
            }
            WatchEvent::Bookmark { resource_version, initial_events_end: true } => {
                return Ok(Some((objects, resource_version)));
            }
            WatchEvent::Bookmark { .. } => {}
        }
    }
    Ok(None)
}

/// Revisions are decimal and comparable (KEP-5504); anything else counts as "before all".
fn number(revision: &str) -> u64 {
    revision.parse().unwrap_or(0)
}
