//! Keeps the zone true: follows Services and EndpointSlices.

use std::sync::{Arc, PoisonError};

use orlop_api::typed::kinds::EndpointSlice;
use orlop_client::cache::Factory;
use orlop_client::services::ServiceFeed;
use tokio_util::sync::CancellationToken;

use crate::serve::Nameserver;

/// Runs until cancelled. Answers change with the endpoints at once.
pub async fn follow(server: Arc<Nameserver>, factory: Factory, shutdown: CancellationToken) {
    let feed = ServiceFeed::new(&factory);
    loop {
        let changed = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            changed = feed.next() => changed,
        };
        let slices: Vec<&EndpointSlice> = changed.slices.iter().map(|slice| &**slice).collect();
        let mut zone = server.zone.write().unwrap_or_else(PoisonError::into_inner);
        zone.set(&changed.namespace, &changed.name, changed.service.as_deref(), &slices);
    }
}
