//! Every controller, once.

use orlop_client::Client;
use orlop_client::cache::Factory;
use orlop_client::engine::{Controller, Running};
use tokio_util::sync::CancellationToken;

/// What the controllers need to know of the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// PEM bundle that clients in the cluster verify the API server by.
    pub root_ca: String,
}

/// All controllers that are a pure decision behind the engine.
pub fn all(settings: &Settings) -> Vec<Controller> {
    vec![
        crate::deployment::controller(),
        crate::endpoints::endpoints(),
        crate::endpoints::endpoint_slices(),
        crate::event_ttl::controller(),
        crate::namespace::controller(),
        crate::node_lifecycle::controller(),
        crate::pod_gc::controller(),
        crate::replicas::replica_set(),
        crate::replicas::replication_controller(),
        crate::root_ca_publisher::controller(settings.root_ca.clone()),
        crate::service_account::controller(),
        crate::taint_eviction::controller(),
    ]
}

/// Starts everything, the garbage collector included. All read through `reader`, which must be able
/// to list and watch every kind; each writes as itself: `connect` is given the name of a service
/// account in `kube-system` (`deployment-controller`).
pub fn start(
    settings: &Settings,
    reader: &Factory,
    connect: impl Fn(&str) -> Client,
    shutdown: &CancellationToken,
) -> Vec<Running> {
    let collector = crate::garbage_collector::start(reader, connect(crate::garbage_collector::NAME), shutdown.clone());
    let mut running = vec![collector];
    for controller in all(settings) {
        let writer = connect(controller.name);
        running.push(orlop_client::engine::start(controller, reader, writer, shutdown.clone()));
    }
    running
}
