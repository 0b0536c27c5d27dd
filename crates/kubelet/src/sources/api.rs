//! Pods bound to this node, by one watch.

use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_client::cache::{Cache, Delta};
use tokio_util::sync::CancellationToken;

use super::mirror;
use crate::corev1::Pod;
use crate::pod::spec::{NodePod, Origin};
use crate::roster::Roster;

/// Follows the watch until `shutdown`. What already exists comes in order of creation, so that
/// older pods have the first claim on the node.
pub async fn follow(roster: Arc<Roster>, cache: Cache<Pod>, shutdown: CancellationToken) {
    let mut changes = cache.subscribe();
    if shutdown.run_until_cancelled(cache.synced()).await.is_none() {
        return;
    }
    let mut first = Vec::new();
    while let Some(delta) = changes.try_next() {
        first.push(delta);
    }
    first.sort_by_key(|delta| delta.object().metadata.creation_timestamp.clone());
    for delta in first {
        take(&roster, delta);
    }
    roster.source_is_ready();
    while let Some(delta) = shutdown.run_until_cancelled(changes.next()).await {
        take(&roster, delta);
    }
}

fn take(roster: &Arc<Roster>, delta: Delta<Pod>) {
    let object = delta.object().clone();
    if mirror::is_mirror(&object) {
        return roster.mirror_changed(&object, delta.new.is_some());
    }
    match (roster.get(object.uid()), delta.new) {
        (Some(handle), Some(pod)) => handle.update(NodePod::new(pod, Origin::Api)),
        (Some(handle), None) => handle.remove(),
        (None, Some(pod)) => roster.add(NodePod::new(pod, Origin::Api)),
        (None, None) => {}
    }
}
