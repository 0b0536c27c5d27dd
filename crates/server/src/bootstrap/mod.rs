//! The objects every cluster has: made at start, made again when somebody removes them, and those
//! that name this server kept true (`pkg/controlplane/controller`).

mod addresses;
mod api_services;
mod dangling;
pub(crate) mod default_range;
pub(crate) mod flow_control;
mod objects;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_base::backoff::Backoff;
use orlop_client::transport::{self, Transport as _, UserInfo};
use orlop_store::{StoreError, Watch};
use tokio_util::sync::CancellationToken;

use crate::server::store_failed;
use crate::{Component, Server};
use objects::{Keep, Wanted};
pub use peers::Peers;

const USER_AGENT: &str = "kube-apiserver/v1.37.0";
/// Between tries of what does not succeed.
const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(10) };

impl Server {
    /// Keeps the bootstrap objects and follows definitions, flow control and other API servers until `stop`. Readiness
    /// waits for the first round.
    pub async fn maintain(self: Arc<Self>, stop: CancellationToken) {
        let definitions = self.clone().follow_definitions(stop.clone());
        let api_services = self.clone().follow_api_services(stop.clone());
        let registration = self.clone().register_definitions(stop.clone());
        let addresses = self.clone().keep_addresses(stop.clone());
        let dangling = self.clone().mark_dangling(stop.clone());
        let (server, ended) = (self.clone(), stop.clone());
        let flow = async move { ended.run_until_cancelled(server.flow.follow(&server.store)).await };
        let peers = self.clone().follow_peers(stop.clone());
        let bootstrap = self.maintain_bootstrap(stop);
        tokio::join!(definitions, api_services, registration, addresses, dangling, flow, peers, bootstrap);
    }

    async fn follow_peers(self: Arc<Self>, stop: CancellationToken) {
        match self.peers.run(&self, &stop).await {
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => tracing::error!(%error, "following the other servers has ended"),
        }
    }

    async fn maintain_bootstrap(self: Arc<Self>, stop: CancellationToken) {
        self.health.bootstrap_started();
        let work = async {
            let mut failures = 0;
            loop {
                let Ok(changes) = Changes::follow(&self) else { return };
                match self.bootstrap().await {
                    Ok(()) => {
                        self.health.bootstrap_done();
                        failures = 0;
                        tokio::select! {
                            changed = changes.next() => if changed.is_none() { return },
                            () = self.peers.bell.notified() => {}
                            () = tokio::time::sleep(RETRY.max), if self.default_range.refused() => {}
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "making the bootstrap objects failed");
                        failures += 1;
                        tokio::time::sleep(RETRY.delay(failures)).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// This server as a client of itself.
    pub(crate) fn apiserver(self: &Arc<Self>) -> Component {
        let groups = vec!["system:masters".to_owned()];
        self.component(UserInfo { name: "system:apiserver".into(), groups, ..UserInfo::default() })
    }

    /// One round: makes what is missing, corrects what is wrong.
    pub async fn bootstrap(self: &Arc<Self>) -> Result<(), StatusError> {
        let me = self.apiserver();
        self.peers.renew(&self.store).await.map_err(store_failed)?;
        default_range::keep(self, &me).await?;
        for wanted in objects::all(self) {
            ensure(self, &me, &wanted).await?;
        }
        let api_services = api_services::all();
        try_join_all(api_services.iter().map(|wanted| ensure(self, &me, wanted))).await?;
        Ok(())
    }
}

async fn ensure(server: &Server, me: &Component, wanted: &Wanted) -> Result<(), StatusError> {
    let Some(resource) = server.resource(wanted.group, "v1", wanted.plural) else { return Ok(()) };
    let key = resource.key(wanted.namespace, wanted.name());
    let Some(entry) = server.store.newest(&key) else {
        return match send(me, Method::POST, &(wanted.collection_path() + wanted.manager()), &wanted.object).await {
            Err(error) if error.is_already_exists() => Ok(()),
            other => other,
        };
    };
    let mut object: Value = crate::resource::parse_stored(&entry)?;
    if wanted.keep == Keep::Existence || !wanted.correct(&mut object) {
        return Ok(());
    }
    let path = format!("{}/{}{}", wanted.collection_path(), wanted.name(), wanted.manager());
    send(me, Method::PUT, &path, &object).await
}

pub(crate) async fn send(me: &Component, method: Method, path: &str, object: &Value) -> Result<(), StatusError> {
    send_as(me, method, "application/json", path, object).await
}

async fn send_as(
    me: &Component,
    method: Method,
    media_type: &str,
    path: &str,
    object: &Value,
) -> Result<(), StatusError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media_type)
        .header("user-agent", USER_AGENT)
        .body(transport::full(object.to_string()))
        .map_err(StatusError::internal)?;
    let response = me.send(request).await.map_err(StatusError::internal)?;
    let code = response.status();
    if code.is_success() {
        return Ok(());
    }
    let body = response.into_body().collect().await.map_err(StatusError::internal)?.to_bytes();
    Err(StatusError::from_body(code.as_u16(), &body))
}

/// What may undo the bootstrap objects.
struct Changes(Vec<Watch>);

impl Changes {
    fn follow(server: &Server) -> Result<Self, StoreError> {
        let revision = server.store.revision();
        let watches = objects::WATCHED.iter().map(|(key, namespace)| server.store.watch(key, *namespace, revision));
        Ok(Self(watches.collect::<Result<_, _>>()?))
    }

    /// The next change to any of them; `None` when the store is closed.
    async fn next(self) -> Option<()> {
        let waits = self.0.into_iter().map(|mut watch| -> BoxFuture<'static, Result<(), StoreError>> {
            Box::pin(async move { watch.next().await.map(drop) })
        });
        let mut waits: FuturesUnordered<_> = waits.collect();
        match waits.next().await {
            None | Some(Err(StoreError::Closed)) => None,
            _ => Some(()),
        }
    }
}
