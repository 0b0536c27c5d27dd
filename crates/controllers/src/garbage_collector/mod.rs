//! Deletes what nobody owns any more, and holds deletions until dependents are gone or let go
//! (`pkg/controller/garbagecollector`).
//!
//! The metadata of every object in the cluster makes one [`graph`]. A change of it wakes the objects
//! whose fate it may decide; each is then looked at in the API itself, with its owners, before
//! anything is done: the graph only says where to look.

mod decide;
mod graph;
mod look;
mod metadata;
mod monitors;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use orlop_client::Client;
use orlop_client::cache::Factory;
use orlop_client::engine::{Controller, Grant, Running, start as start_engine};
use orlop_client::events::Recorder;
use tokio_util::sync::CancellationToken;

use graph::Graph;
pub use monitors::Monitors;

pub const NAME: &str = "generic-garbage-collector";

/// Upstream's `--concurrent-gc-syncs`.
const WORKERS: usize = 20;

/// What the collector may do, on every kind there is or will be.
pub fn grants() -> Vec<Grant> {
    let mut grants = vec![Grant::new("*", &["*"], &["get", "list", "watch", "patch", "update", "delete"])];
    grants.extend(Grant::EVENTS);
    grants
}

/// Starts watching everything that `factory`'s identity can list, and collecting as `writer`. Who else needs to
/// know what there is asks the monitors.
pub fn start(factory: &Factory, writer: Client, shutdown: CancellationToken) -> (Running, Arc<Monitors>) {
    let graph = Arc::new(Mutex::new(Graph::default()));
    let monitors = Monitors::new(factory.clone(), graph.clone());
    let mut controller = Controller::new(NAME, "garbage_collector", Vec::new(), grants(), decide::decide);
    controller.workers = WORKERS;
    controller.look = Some(look::look(graph, monitors.clone()));
    let recorder = Recorder::new(writer.clone(), "garbage-collector-controller", "", shutdown.clone());
    let running = start_engine(controller, factory, writer, shutdown.clone());
    let watching = monitors.clone().run(running.queue().clone(), recorder);
    orlop_base::task::spawn(shutdown.run_until_cancelled_owned(watching));
    (running, monitors)
}
