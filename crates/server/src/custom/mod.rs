//! Custom resources: definitions are followed, their kinds served and published, their status told, their objects
//! cleaned up when they go (`k8s.io/apiextensions-apiserver`).
//!
//! A definition's versions become [`orlop_api::custom::CustomKind`]s and walk the same pipeline as every other kind.

mod cleanup;
mod conversion;
mod converted;
mod definitions;
pub mod hooks;
mod names;
mod rules;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use orlop_api::{Value, meta};
use orlop_base::{backoff::Backoff, clock};
use orlop_store::Event;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Server;
use crate::bootstrap::send;
pub(crate) use conversion::Conversion;
pub(crate) use converted::Versions;
pub use definitions::Definitions;
use names::Names;
use status::settle;

/// Storage key of definitions.
pub(crate) const KEY: &str = "apiextensions.k8s.io/customresourcedefinitions";
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Between tries of a watch that broke off.
const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(10) };

impl Server {
    /// Serves what is defined, and keeps the definitions' status, until `stop`.
    pub(crate) async fn follow_definitions(self: Arc<Self>, stop: CancellationToken) {
        let cleanups = TaskTracker::new();
        let mut follower =
            Follower { server: self, names: Names::default(), cleanups: cleanups.clone(), stop: stop.clone() };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = follower.run() => {}
        }
        cleanups.close();
        cleanups.wait().await;
    }

    /// What is defined in the store as it stands; before anybody is served.
    pub(crate) fn load_definitions(&self) {
        for definition in stored(self) {
            if status::is_served(&definition) {
                self.definitions.serve(self, &definition);
            }
        }
    }
}

fn stored(server: &Server) -> Vec<Value> {
    let snapshot = server.store.snapshot();
    snapshot.range(KEY, None, None).filter_map(|entry| serde_json::from_slice(&entry.json).ok()).collect()
}

struct Follower {
    server: Arc<Server>,
    names: Names,
    cleanups: TaskTracker,
    stop: CancellationToken,
}

impl Follower {
    async fn run(&mut self) {
        let mut failures = 0;
        loop {
            let revision = self.server.store.revision();
            let Ok(mut changes) = self.server.store.watch(KEY, None, revision) else { return };
            let all = stored(&self.server);
            self.names = Names::of(&all);
            for definition in &all {
                self.changed(definition).await;
            }
            drop(all);
            while let Ok(batch) = changes.next().await {
                failures = 0;
                for event in batch.iter() {
                    self.on(event).await;
                }
            }
            if self.stop.is_cancelled() {
                return;
            }
            failures += 1;
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
    }

    async fn on(&mut self, event: &Event) {
        let Ok(definition) = serde_json::from_slice::<Value>(&event.entry.json) else { return };
        if !event.deleted {
            return self.changed(&definition).await;
        }
        self.server.definitions.withdraw(&self.server, meta::name(&definition));
        self.names.remove(meta::name(&definition));
        // Its names are free: others of its group may have waited for them.
        for other in stored(&self.server).iter().filter(|other| other["spec"]["group"] == definition["spec"]["group"]) {
            self.changed(other).await;
        }
    }

    /// Serves first, then says so: who waits for `Established` finds it served.
    async fn changed(&mut self, definition: &Value) {
        let mut settled = definition.clone();
        let told = settle(definition, &self.names, &clock::rfc3339());
        if let Some(status) = &told {
            settled["status"] = status.clone();
        }
        self.names.put(&settled);
        if status::is_served(&settled) {
            self.server.definitions.serve(&self.server, &settled);
        } else {
            self.server.definitions.withdraw(&self.server, meta::name(definition));
        }
        if told.is_some() {
            tell(&self.server, &settled).await;
        }
        if cleanup::is_due(&settled) && self.server.definitions.begin_cleanup(meta::uid(&settled)) {
            let (server, stop) = (self.server.clone(), self.stop.clone());
            self.cleanups.spawn(orlop_base::task::boxed(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = cleanup::clean_up(&server, &settled) => {}
                }
                server.definitions.end_cleanup(meta::uid(&settled));
            }));
        }
    }
}

/// Writes the status. Who was faster has made an event that is looked at next.
async fn tell(server: &Arc<Server>, definition: &Value) {
    let path = format!("{PATH}/{}/status", meta::name(definition));
    match send(&server.apiserver(), http::Method::PUT, &path, definition).await {
        Err(error) if !error.is_conflict() && !error.is_not_found() => {
            tracing::warn!(definition = meta::name(definition), %error, "writing a definition's status failed");
        }
        _ => {}
    }
}
