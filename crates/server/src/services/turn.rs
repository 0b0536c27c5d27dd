//! Allocating where other servers allocate from the same ranges.
//!
//! The Services themselves say what is taken. A server draws from what it sees, and its write happens only
//! if no Service is newer than that: who was overtaken looks again. Upstream has an object for each address
//! and a bitmap of ports, and repairs what gets lost between them and the Services; here nothing can.

use orlop_api::status::StatusError;
use orlop_store::Revision;
use tokio::sync::MutexGuard;

use super::Allocators;
use crate::Server;
use crate::resource::Resource;
use crate::server::store_failed;

/// Nobody else of this process allocates meanwhile.
pub(crate) struct Turn<'a> {
    _alone: Option<MutexGuard<'a, ()>>,
    /// The write must not happen when a Service is newer; `None`: it cannot be.
    pub unless_newer: Option<Revision>,
}

impl Allocators {
    /// Before anything is drawn for a write of this resource, if anything may be.
    pub(crate) async fn turn(&self, server: &Server, resource: &Resource) -> Result<Turn<'_>, StatusError> {
        if resource.storage_key() != "services" || !server.store.is_shared() {
            return Ok(Turn { _alone: None, unless_newer: None });
        }
        let alone = self.turns.lock().await;
        server.store.catch_up().await.map_err(store_failed)?;
        let snapshot = server.store.snapshot();
        self.refill(&snapshot);
        Ok(Turn { _alone: Some(alone), unless_newer: Some(snapshot.revision()) })
    }
}
