//! What every request passes: identity, permission, limits, then its handler
//! (`k8s.io/apiserver/pkg/server/config.go`, `DefaultBuildHandlerChain`).

mod deadline;
mod identity;
mod impersonation;
pub mod inflight;
mod permission;
pub mod route;

pub(crate) use permission::forbidden;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use orlop_api::status::StatusError;
use orlop_client::transport::{self, Body, UserInfo};

use crate::Server;
use crate::audit::Trail;
use crate::call::Warnings;
use crate::flow::{Marks, Seats};
use crate::observe::{self, Layer, Observed, timed};
use crate::request::RequestInfo;
use crate::trace;
use crate::wire::{body, respond};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Longer ids from clients are replaced.
const AUDIT_ID_MAX_LENGTH: usize = 64;

/// A request on its way through the pipeline.
pub(crate) struct Incoming {
    pub head: http::request::Parts,
    pub body: Body,
    pub info: Arc<RequestInfo>,
    pub warnings: Warnings,
    pub audit_id: Arc<str>,
    pub trail: Trail,
}

impl Server {
    /// Answers one request. Never fails: every failure is a Status.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let info = Arc::new(RequestInfo { cbor: self.features.cbor, ..RequestInfo::parse(&head.method, path) });
        let audit_id = audit_id(&head);
        let warnings = Warnings::default();
        // Authentication may have something to say.
        head.extensions.insert(warnings.clone());
        let (headers, asked, is_head) = (head.headers.clone(), info.clone(), head.method == Method::HEAD);
        let started = tokio::time::Instant::now();
        let observed = Observed::new(&info);
        let received = trace::now();
        let trail = Trail::new(self.audit.as_ref(), &audit_id, &observed);
        trail.accompany(&mut head);
        let incoming =
            Incoming { head, body, info, warnings: warnings.clone(), audit_id: audit_id.clone(), trail: trail.clone() };
        let mut marks = None;
        let work = observe::request(observed.clone(), self.proceed(incoming, &mut marks, &observed, received));
        let guarded = AssertUnwindSafe(work).catch_unwind().await;
        let result = match guarded {
            Ok(result) => result,
            Err(panic) => {
                tracing::error!(path = %asked.path, verb = %asked.verb, "a request handler panicked");
                trail.panicked(panic_text(&*panic)).await;
                Err(StatusError::new(
                    500,
                    "InternalError",
                    "This request caused apiserver to panic. Look in the logs for details.",
                ))
            }
        };
        let mut response = result.unwrap_or_else(|error| {
            trail.failed(&error);
            respond::error(&headers, &asked, &error)
        });
        marks.into_iter().for_each(|marks: Marks| marks.add(response.headers_mut()));
        decorate(&mut response, &audit_id, &warnings);
        let response = trail.answered(&asked, response).await;
        self.metrics.request_done(&asked, &headers, &response, started.elapsed(), &observed);
        let response = traced(response, &observed);
        // HTTP/2 sends whatever body there is, which breaks the connection of who asked for the head alone.
        if is_head { response.map(|_| transport::empty()) } else { response }
    }

    async fn proceed(
        self: &Arc<Self>,
        mut incoming: Incoming,
        marks: &mut Option<Marks>,
        observed: &Observed,
        received: u64,
    ) -> Result<Response<Body>, StatusError> {
        let long_running = is_long_running(&incoming.info);
        let (allotted, user) = match self.introduce(&incoming.head, &incoming.info).await {
            Ok(known) => known,
            Err(refused) => {
                incoming.trail.unidentified(&incoming.head, &incoming.info);
                return Err(refused);
            }
        };
        let Incoming { head, info, audit_id, .. } = &incoming;
        observed.trace(trace::begin(self.tracer.as_ref(), head, info, &user, audit_id, received));
        if !incoming.trail.begin(&incoming.head, &incoming.info, &user).await {
            return Ok(respond::unaudited(&incoming.head.uri));
        }
        let caller = user.clone();
        let acting = self.impersonate(user, &mut incoming.head, &incoming.info);
        let (user, constraint) = timed(Layer::Impersonation, acting).await?;
        if !Arc::ptr_eq(&caller, &user) {
            incoming.trail.impersonated(&user, constraint);
        }
        if long_running {
            // A watch takes seats until it has begun; other streams take none.
            let seats = if incoming.info.verb == "watch" {
                self.seats(&user, &incoming.info, allotted, marks).await?
            } else {
                None
            };
            self.permit_request(&user, &incoming.info, &incoming.trail).await?;
            let answer = self.route(user, incoming).await;
            drop(seats);
            return answer;
        }
        // Whoever looks after the server may ask to the end how it is.
        if self.under_way.is_closed() && incoming.info.is_resource {
            let why = "The apiserver is shutting down, please try again later.";
            return Err(StatusError::unavailable(why));
        }
        let under_way = self.under_way.token();
        let slot = self.inflight.enter(&user, &incoming.info)?;
        let seats = self.seats(&user, &incoming.info, allotted, marks).await?;
        let writes = !matches!(&*incoming.info.verb, "get" | "list");
        if writes {
            // It goes on without anybody to give it up.
            incoming.body = body::until(incoming.body, tokio::time::Instant::now() + allotted);
        }
        let server = self.clone();
        let work = async move {
            let _held = (seats, slot, under_way);
            server.permit_request(&user, &incoming.info, &incoming.trail).await?;
            server.route(user, incoming).await
        };
        let result = if writes {
            // A write that has begun is finished even when its client hangs up or its time is out:
            // what it holds (addresses, ports) is settled only once the store has answered.
            let task = orlop_base::task::spawn(observe::carried(work));
            tokio::time::timeout(allotted, task).await.map(|joined| match joined {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(StatusError::unavailable("the server is shutting down")),
                },
            })
        } else {
            tokio::time::timeout(allotted, work).await
        };
        result.unwrap_or_else(|_| {
            Err(StatusError::timeout("Timeout: request did not complete within the allotted timeout"))
        })
    }
}

impl Server {
    /// The request's seats, and whose turn it is; waiting takes no more than a quarter of its time.
    async fn seats(
        &self,
        user: &Arc<UserInfo>,
        info: &Arc<RequestInfo>,
        allotted: Duration,
        marks: &mut Option<Marks>,
    ) -> Result<Option<Seats>, StatusError> {
        if !self.limits.fair {
            return Ok(None);
        }
        let entering = self.flow.enter(user, info, &self.store, allotted / 4);
        let (seats, whose) = timed(Layer::QueueWait, entering).await?;
        *marks = Some(whose);
        Ok(Some(seats))
    }

    /// How long the request may take, and who sends it: what must be known before anything is done about it.
    async fn introduce(&self, head: &Parts, info: &RequestInfo) -> Result<(Duration, Arc<UserInfo>), StatusError> {
        let most = self.limits.request_timeout;
        let allotted = if is_long_running(info) { most } else { deadline::of(info, most)? };
        Ok((allotted, timed(Layer::Authentication, self.identify(head)).await?))
    }
}

/// The answer's end is the end of its span.
fn traced(response: Response<Body>, observed: &Observed) -> Response<Body> {
    let Some(active) = observed.active() else { return response };
    active.answered(response.status().as_u16());
    let active = active.clone();
    response.map(|body| crate::wire::held::hold(body, active))
}

/// Watches, proxies and streams end when a side hangs up.
pub(crate) fn is_long_running(info: &RequestInfo) -> bool {
    let streams = ["attach", "exec", "log", "portforward", "proxy"];
    matches!(&*info.verb, "watch" | "proxy") || streams.contains(&&*info.subresource)
}

/// What a panic says of itself.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// The client's id for this request if it sent a sensible one, else a fresh one.
fn audit_id(head: &http::request::Parts) -> Arc<str> {
    let sent = head.headers.get(&AUDIT_ID).and_then(|v| v.to_str().ok());
    match sent.filter(|id| !id.is_empty() && id.len() <= AUDIT_ID_MAX_LENGTH) {
        Some(id) => Arc::from(id),
        None => Arc::from(orlop_base::id::uuid()),
    }
}

fn decorate(response: &mut Response<Body>, audit_id: &str, warnings: &Warnings) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(audit_id) {
        headers.insert(AUDIT_ID, id);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    }
    for text in warnings.take() {
        if let Ok(value) = HeaderValue::from_str(&warning_header(&text)) {
            headers.append(http::header::WARNING, value);
        }
    }
}

/// RFC 7234's form: code 299, unknown agent, quoted text of printable characters.
fn warning_header(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || !c.is_ascii() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    format!("299 - \"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted() {
        assert_eq!(warning_header("unknown field \"a\\b\"\n"), r#"299 - "unknown field \"a\\b\" ""#);
    }
}
