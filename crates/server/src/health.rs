//! `/healthz`, `/livez`, `/readyz` and a path for each check
//! (`k8s.io/apiserver/pkg/server/healthz`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Response;
use http::header::HeaderValue;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use tokio_util::sync::CancellationToken;

use crate::Server;
use crate::discovery::no_page;
use crate::metrics::slis::Slis;
use crate::request::RequestInfo;
use crate::wire::respond;

type Probe = dyn Fn(&Server) -> Result<(), String> + Send + Sync;

/// A named condition of health.
#[derive(Clone)]
pub struct Check {
    name: String,
    /// Only `/readyz` asks.
    readiness_only: bool,
    probe: Arc<Probe>,
}

impl Check {
    /// `probe` says what is wrong; it is called on every request, so it only looks.
    pub fn new(name: impl Into<String>, probe: impl Fn(&Server) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), readiness_only: false, probe: Arc::new(probe) }
    }

    #[must_use]
    pub fn readiness_only(mut self) -> Self {
        self.readiness_only = true;
        self
    }
}

pub struct Health {
    checks: Vec<Check>,
    pub(crate) slis: Slis,
    leaving: CancellationToken,
    shutdown: CancellationToken,
    bootstrap_pending: AtomicBool,
}

impl Health {
    pub fn new(added: Vec<Check>) -> Self {
        let leaving = CancellationToken::new();
        let token = leaving.clone();
        let mut checks =
            vec![Check::new("ping", |_| Ok(())), Check::new("log", |_| Ok(())), Check::new("etcd", store_works)];
        checks.push(Check::new("etcd-readiness", store_works).readiness_only());
        checks.push(Check::new("poststarthook/bootstrap-controller", |server| {
            if server.health.bootstrap_pending.load(Ordering::Relaxed) {
                Err("not finished".to_owned())
            } else {
                Ok(())
            }
        }));
        checks.extend(added);
        checks.push(
            Check::new("shutdown", move |_| {
                if token.is_cancelled() { Err("process is shutting down".to_owned()) } else { Ok(()) }
            })
            .readiness_only(),
        );
        Self {
            checks,
            slis: Slis::new(),
            leaving,
            shutdown: CancellationToken::new(),
            bootstrap_pending: AtomicBool::new(false),
        }
    }

    pub fn bootstrap_started(&self) {
        self.bootstrap_pending.store(true, Ordering::Relaxed);
    }

    pub fn bootstrap_done(&self) {
        self.bootstrap_pending.store(false, Ordering::Relaxed);
    }

    /// Readiness fails from now on.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Cancelled when requests under way are answered: watches end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }
}

/// Upstream calls its store's check by this name, and so do the probes of those who run it.
fn store_works(server: &Server) -> Result<(), String> {
    match server.store.stats().backend.failure {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

/// Answers `/healthz`, `/livez/etcd?...` and so on.
pub fn serve(server: &Server, info: &RequestInfo) -> Result<Response<Body>, StatusError> {
    let path = info.path.trim_matches('/');
    let (endpoint, name) = path.split_once('/').unwrap_or((path, ""));
    let asked = |check: &&Check| endpoint == "readyz" || !check.readiness_only;
    if name.is_empty() {
        let checks: Vec<&Check> = server.health.checks.iter().filter(asked).collect();
        return Ok(all(server, endpoint, &checks, info));
    }
    let check = server.health.checks.iter().filter(asked).find(|check| check.name == name);
    let Some(check) = check else { return Ok(no_page()) };
    Ok(match (check.probe)(server) {
        Ok(()) => answer(200, "ok".to_owned()),
        Err(why) => answer(500, format!("internal server error: {why}\n")),
    })
}

fn all(server: &Server, endpoint: &str, checks: &[&Check], info: &RequestInfo) -> Response<Body> {
    let excluded: Vec<&str> = info.query.iter().filter(|(key, _)| key == "exclude").map(|(_, v)| v.as_str()).collect();
    let mut lines = String::new();
    let mut failed = false;
    for check in checks {
        let name = &check.name;
        let line = if excluded.contains(&name.as_str()) {
            format!("[+]{name} excluded: ok")
        } else {
            let outcome = (check.probe)(server);
            server.health.slis.observe(name, endpoint, outcome.is_ok());
            match outcome {
                Ok(()) => format!("[+]{name} ok"),
                Err(why) => {
                    tracing::warn!(check = %name, %why, "health check failed");
                    failed = true;
                    format!("[-]{name} failed: reason withheld")
                }
            }
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    let unknown: Vec<String> =
        excluded.iter().filter(|e| !checks.iter().any(|c| c.name == **e)).map(|e| format!("{e:?}")).collect();
    if !unknown.is_empty() {
        let _ = writeln!(lines, "warn: some health checks cannot be excluded: no matches for {}", unknown.join(", "));
    }
    if failed {
        return answer(500, format!("{lines}{endpoint} check failed\n"));
    }
    if info.query("verbose").is_none() {
        return answer(200, "ok".to_owned());
    }
    answer(200, format!("{lines}{endpoint} check passed\n"))
}

fn answer(code: u16, text: String) -> Response<Body> {
    let mut response = respond::text(code, "text/plain; charset=utf-8", text);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
