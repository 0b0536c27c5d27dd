//! Keeps the kernel's table true: follows Services, EndpointSlices and the ranges that addresses come from.

use std::hash::{DefaultHasher, Hash, Hasher};

use orlop_api::cidr::Cidr;
use orlop_api::typed::kinds::{EndpointSlice, ServiceCIDR};
use orlop_client::cache::{Cache, Factory};
use orlop_client::services::{ServiceFeed, ServiceState};
use tokio_util::sync::CancellationToken;

use crate::node::NodeNetworking;
use crate::service::{Contribution, decide};

/// Label by which another proxy claims a Service for itself (KEP-less, `service.kubernetes.io`).
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Runs until cancelled. What an earlier life left in the kernel keeps working until every Service
/// is known; then the table is replaced as a whole, in one transaction.
pub async fn run(networking: NodeNetworking, factory: Factory, shutdown: CancellationToken) {
    let feed = ServiceFeed::new(&factory);
    let ranges = factory.cache::<ServiceCIDR>();
    let mut changed_ranges = ranges.subscribe();
    tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        () = feed.synced() => {}
    }
    while let Some(known) = feed.try_next() {
        apply(&networking, &known);
    }
    if let Err(error) = networking.go_live() {
        tracing::error!(error = orlop_base::error::chain(&error), "service rules cannot be written");
    }
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = changed_ranges.next() => {
                // What an earlier life knew counts until all is known.
                let Some(()) = shutdown.run_until_cancelled(ranges.synced()).await else { return };
                let ranges = cidrs(&ranges);
                blocking(&networking, move |networking| route(networking, &ranges)).await;
            }
            changed = feed.next() => blocking(&networking, move |networking| apply(networking, &changed)).await,
        }
    }
}

/// Netlink answers within microseconds to milliseconds, but it does block.
async fn blocking(networking: &NodeNetworking, work: impl FnOnce(&NodeNetworking) + Send + 'static) {
    let networking = networking.clone();
    if let Err(panic) = tokio::task::spawn_blocking(move || work(&networking)).await {
        tracing::error!(%panic, "applying a change of Services");
    }
}

/// All ranges, those too that nothing more is drawn from: Services have addresses of them.
fn cidrs(ranges: &Cache<ServiceCIDR>) -> Vec<Cidr> {
    let known = ranges.snapshot();
    let texts = known.iter().flat_map(|range| range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten()));
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn route(networking: &NodeNetworking, ranges: &[Cidr]) {
    if let Err(error) = networking.set_service_ranges(ranges) {
        tracing::error!(error = orlop_base::error::chain(&error), "a range of Services is not routed");
    }
}

fn apply(networking: &NodeNetworking, changed: &ServiceState) {
    let slices: Vec<&EndpointSlice> = changed.slices.iter().map(|slice| &**slice).collect();
    let id = own_name(&changed.namespace, &changed.name);
    let ours = changed.service.as_deref().filter(|service| {
        let labels = service.metadata.labels.as_ref();
        !labels.is_some_and(|l| l.contains_key(OTHER_PROXY_LABEL))
    });
    let contributions = networking.views().into_iter().map(|(layout, view)| match ours {
        Some(service) => decide(service, &slices, &view, layout, &id),
        None => Contribution::default(),
    });
    let contributions = contributions.collect();
    networking.set_service(&format!("{}/{}", changed.namespace, changed.name), contributions);
}

/// Prefix of a Service's own chains: short (set names end at 31 bytes in old kernels), one per Service.
fn own_name(namespace: &str, name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (namespace, name).hash(&mut hasher);
    format!("s{:016x}", hasher.finish())
}
