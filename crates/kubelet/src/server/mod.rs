//! The node's HTTPS endpoint, with upstream's paths (`pkg/kubelet/server`): logs, commands, port
//! forwarding, statistics, metrics, health.

mod auth;
mod exec;
mod listen;
mod logs;
mod metrics;
mod netns;
mod pods;
mod port_forward;
mod reply;
mod routes;
mod stats;

use std::sync::{Arc, OnceLock};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use orlop_client::transport::Body;

use crate::context::Context;
use crate::logs::watch::DirWatcher;
use auth::Gate;
use reply::plain;
use routes::{Route, Target};

pub use auth::Peer;
pub use listen::listen;

/// Everything the endpoint serves from.
pub struct Server {
    context: Arc<Context>,
    gate: Gate,
    logs: OnceLock<DirWatcher>,
    samples: stats::Samples,
}

impl Server {
    pub fn new(context: Arc<Context>) -> Self {
        let gate = Gate::new(context.client.clone(), &context.config.node_name);
        Self { context, gate, logs: OnceLock::new(), samples: stats::Samples::default() }
    }

    /// Answers one request of an authenticated, authorized caller; refuses all others.
    pub async fn answer(self: Arc<Self>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        if let Err(refusal) = self.gate.check(&peer, &request).await {
            return refusal;
        }
        let query = routes::query(request.uri());
        match Route::parse(request.method(), request.uri().path()) {
            Some(route) => self.route(route, &query, request).await,
            None => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    async fn route(&self, route: Route, query: &[(String, String)], request: Request<Incoming>) -> Response<Body> {
        match route {
            Route::Healthz => plain(StatusCode::OK, "ok"),
            Route::Configz => pods::configz(&self.context),
            Route::Pods => pods::pods(&self.context),
            Route::RunningPods => pods::running(&self.context),
            Route::Summary => stats::summary(&self.context, &self.samples).await,
            Route::Metrics => metrics::own(&self.context),
            Route::ResourceMetrics => metrics::resource(&self.context).await,
            Route::CadvisorMetrics => metrics::cadvisor(&self.context).await,
            Route::ProbeMetrics => metrics::probes(&self.context),
            Route::Logs(target) => logs::serve(self, &target, query).await,
            Route::Exec(target) => exec::exec(&self.context, &target, query, request).await,
            Route::Attach(target) => exec::attach(&self.context, &target, query, request).await,
            Route::Run(target) => exec::run(&self.context, &target, query).await,
            Route::PortForward(target) => port_forward::serve(&self.context, &target, query, request),
        }
    }

    fn log_watcher(&self) -> std::io::Result<&DirWatcher> {
        if let Some(watcher) = self.logs.get() {
            return Ok(watcher);
        }
        let made = DirWatcher::new()?;
        Ok(self.logs.get_or_init(|| made))
    }
}

/// The pod a path names; with a uid only that very pod.
fn find_pod(context: &Context, target: &Target) -> Option<Arc<crate::pods::PodHandle>> {
    let handle = context.pods.find(&target.namespace, &target.pod)?;
    let right = target.uid.is_empty() || handle.pod().uid() == target.uid;
    right.then_some(handle)
}
