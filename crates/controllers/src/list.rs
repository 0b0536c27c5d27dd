//! Every controller, once.

use orlop_client::engine::Controller;

/// All controllers that are a pure decision behind the engine.
pub fn all() -> Vec<Controller> {
    vec![crate::deployment::controller(), crate::replicas::replica_set(), crate::replicas::replication_controller()]
}
