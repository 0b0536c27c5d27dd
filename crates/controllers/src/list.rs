//! Every controller, once.

use orlop_client::engine::Controller;

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
