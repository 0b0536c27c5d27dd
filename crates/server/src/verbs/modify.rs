//! Changes the server makes on its own behalf, past admission and validation (bindings, evictions).

use std::sync::Arc;

use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_store::{Draft, Entry};

use super::change::{unless_overtaken, until_safe};
use crate::Server;
use crate::observe::in_store;
use crate::resource::{Resource, parse_stored};
use crate::wire::draft;

/// What a change came to.
pub(crate) enum Modified {
    Written(Arc<Entry>),
    /// A dry run, or nothing changed.
    Untouched(Arc<Entry>),
}

impl Modified {
    pub fn entry(&self) -> &Arc<Entry> {
        match self {
            Self::Written(entry) | Self::Untouched(entry) => entry,
        }
    }
}

/// Applies `change` to the newest state of an object until nobody else is faster.
pub(crate) async fn modify(
    server: &Server,
    resource: &Resource,
    (namespace, name): (&str, &str),
    dry_run: bool,
    mut change: impl FnMut(&mut Value) -> Result<(), StatusError> + Send,
) -> Result<Modified, StatusError> {
    let key = resource.key(namespace, name);
    loop {
        let not_found = || StatusError::not_found(resource.group_resource(), name);
        let existing = server.store.newest(&key).ok_or_else(not_found)?;
        let mut object = parse_stored(&existing)?;
        change(&mut object)?;
        let new = Draft::encode(&object);
        if dry_run || draft::is_unchanged(&new, &existing.json, existing.revision) {
            // Nobody may hear of a write before it is safe, not even of one that changes nothing.
            until_safe(server, &existing).await?;
            return Ok(Modified::Untouched(existing));
        }
        let writing = server.store.update(&key, existing.revision, new, Server::durability(resource));
        let written = in_store("GuaranteedUpdate etcd3", resource, Some(&key), writing).await;
        if let Some(entry) = unless_overtaken(written)? {
            return Ok(Modified::Written(entry));
        }
    }
}
