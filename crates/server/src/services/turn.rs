//! Allocating where other servers allocate from the same ranges.
//!
//! The Services themselves say what is taken. A server draws from what it has seen, and its write happens only
//! if nobody has drawn since: who was overtaken looks again. Upstream has an object for each address and a
//! bitmap of ports, and repairs what gets lost between them and the Services; here nothing can.

use orlop_api::status::StatusError;
use orlop_store::{Event, Revision, Snapshot, StoreError, Watch};
use tokio::sync::MutexGuard;

use super::{Allocators, Held};
use crate::Server;
use crate::resource::Resource;
use crate::server::store_failed;

const SERVICES: &str = "services";

/// Nobody else of this process allocates meanwhile.
pub(crate) struct Turn<'a> {
    _alone: Option<MutexGuard<'a, Option<Watch>>>,
    /// The write must not happen when another turn is newer; `None`: it cannot be.
    pub unless_newer: Option<Revision>,
}

impl Allocators {
    /// Before anything is drawn for a write of this resource, if anything may be.
    pub(crate) async fn turn(&self, server: &Server, resource: &Resource) -> Result<Turn<'_>, StatusError> {
        if resource.storage_key() != SERVICES || !server.store.is_shared() {
            return Ok(Turn { _alone: None, unless_newer: None });
        }
        let mut alone = self.turns.lock().await;
        server.store.catch_up().await.map_err(store_failed)?;
        let snapshot = server.store.snapshot();
        self.follow(server, &snapshot, &mut alone);
        Ok(Turn { _alone: Some(alone), unless_newer: Some(snapshot.revision()) })
    }

    /// Brings the pools to where the snapshot is: event by event, or anew when events were missed.
    fn follow(&self, server: &Server, snapshot: &Snapshot, followed: &mut Option<Watch>) {
        if followed.as_mut().is_none_or(|watch| self.see_all(watch).is_err()) {
            self.refill(snapshot);
            *followed = server.store.watch(SERVICES, None, snapshot.revision()).ok();
        }
    }

    fn see_all(&self, watch: &mut Watch) -> Result<(), StoreError> {
        while let Some(batch) = watch.try_next()? {
            batch.iter().for_each(|event| self.see(event));
        }
        Ok(())
    }

    fn see(&self, event: &Event) {
        if let Some(previous) = &event.previous {
            self.release(&Held::by(previous));
        }
        if !event.deleted {
            self.take(&Held::by(&event.entry));
        }
    }
}
