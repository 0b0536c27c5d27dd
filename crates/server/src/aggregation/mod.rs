//! API servers behind this one (`k8s.io/kube-aggregator`): an APIService that names a Service gives a version of a
//! group to the server there. Requests for it are handed on, its discovery and OpenAPI are merged into ours.
//!
//! What is known of each is published as a whole ([`Remotes`]), and made anew by its keeper whenever something it
//! stands on changes.

mod availability;
mod documents;
mod keeper;
pub(crate) mod metrics;
mod registration;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Response;
use http::request::Parts;
use orlop_api::Value;
use orlop_base::backoff::Backoff;
use orlop_client::transport::{Body, UserInfo};
use orlop_store::Event;
use tokio_util::sync::CancellationToken;

use crate::Server;
use crate::connect::extension::{ExtensionServer, unavailable};
pub use documents::Published;
use keeper::Keepers;

/// Storage key of APIServices.
const KEY: &str = "apiregistration.k8s.io/apiservices";
const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
/// Between tries of writes that fail.
const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(10) };

/// A version of a group that another server serves.
#[derive(Clone)]
pub struct Remote {
    pub group: String,
    pub version: String,
    group_priority: i64,
    version_priority: i64,
    /// Or why there is no way to it.
    server: Result<Arc<ExtensionServer>, String>,
    available: bool,
    pub published: Arc<Published>,
}

/// All of them, by the names of their APIServices.
pub type Remotes = BTreeMap<String, Remote>;

#[derive(Default)]
pub struct Aggregation {
    remotes: ArcSwap<Remotes>,
}

impl Aggregation {
    pub fn remotes(&self) -> Arc<Remotes> {
        self.remotes.load_full()
    }

    /// Whose a path is: `/apis/GROUP/VERSION...`, and its document `/openapi/v3/apis/GROUP/VERSION`.
    pub fn of_path(&self, path: &str) -> Option<Remote> {
        let remotes = self.remotes.load();
        if remotes.is_empty() {
            return None;
        }
        let path = path.trim_start_matches('/');
        let mut parts = path.strip_prefix("openapi/v3/").unwrap_or(path).strip_prefix("apis/")?.split('/');
        let (group, version) = (parts.next()?, parts.next()?);
        remotes.get(&format!("{version}.{group}")).cloned()
    }

    fn publish(&self, name: &str, remote: Option<&Remote>) {
        self.remotes.rcu(|held| {
            let mut remotes = Remotes::clone(held);
            match remote {
                Some(remote) => remotes.insert(name.to_owned(), remote.clone()),
                None => remotes.remove(name),
            };
            remotes
        });
    }
}

impl Remote {
    /// Higher first, as discovery lists groups and then versions.
    pub fn priority(&self) -> (i64, i64) {
        (self.group_priority, self.version_priority)
    }

    pub async fn serve(&self, user: &UserInfo, head: Parts, body: Body) -> Response<Body> {
        match &self.server {
            _ if !self.available => unavailable("service unavailable"),
            Err(why) => unavailable(why),
            Ok(server) => server.forward(user, head, body).await,
        }
    }
}

impl Server {
    /// Keeps what is known of other API servers, until `stop`.
    pub(crate) async fn follow_api_services(self: Arc<Self>, stop: CancellationToken) {
        let mut keepers = Keepers::new(self.clone());
        loop {
            let revision = self.store.revision();
            let Ok(mut changes) = self.store.watch(KEY, None, revision) else { return };
            let snapshot = self.store.snapshot();
            let stored = snapshot.range(KEY, None, None).filter_map(|entry| serde_json::from_slice(&entry.json).ok());
            keepers.reset(&stored.collect::<Vec<Value>>());
            // It ends when it fell behind: what is stored is read anew.
            while let Some(Ok(batch)) = stop.run_until_cancelled(changes.next()).await {
                batch.iter().for_each(|event| on(&mut keepers, event));
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

fn on(keepers: &mut Keepers, event: &Event) {
    let Ok(api_service) = serde_json::from_slice::<Value>(&event.entry.json) else { return };
    if event.deleted {
        keepers.gone(&api_service);
    } else {
        keepers.changed(&api_service);
    }
}
