//! The span of a request, and of the steps within (`k8s.io/apiserver/pkg/endpoints/filters/traces.go`).

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use orlop_client::transport::UserInfo;

use super::otlp::{Attribute, Kind, Span, Value};
use super::{Onward, SpanContext, Tracer, now};
use crate::authz::MASTERS;
use crate::request::RequestInfo;

/// Those who are not masters, but may still decide what is traced.
const MONITORING: &str = "system:monitoring";
/// Leads from a span to the record of its request.
const AUDIT_ID: &str = "audit-id";

/// A request that is being traced. Its span ends with the last holder.
#[derive(Clone)]
pub struct Active(Arc<Server>);

struct Server {
    tracer: Arc<Tracer>,
    span: Option<Span>,
    status: std::sync::atomic::AtomicU16,
}

/// What others are told, and the request's span if it is traced. `received`: nanoseconds since the epoch.
pub fn begin(
    tracer: Option<&Arc<Tracer>>,
    head: &Parts,
    info: &RequestInfo,
    user: &UserInfo,
    audit_id: &str,
    received: u64,
) -> (Onward, Option<Active>) {
    let header = |name: &str| head.headers.get(name).cloned();
    let sent = SpanContext::of(&head.headers);
    let state = sent.and_then(|_| header("tracestate"));
    let mut onward = Onward { context: sent, state, baggage: header("baggage") };
    let Some(tracer) = tracer else { return (onward, None) };
    let trusted = user.groups.iter().any(|group| group == MASTERS || group == MONITORING);
    let parent = sent.filter(|_| trusted);
    let context = tracer.place(parent);
    onward.context = Some(context);
    onward.state.take_if(|_| !trusted);
    if !context.sampled {
        return (onward, None);
    }
    let span = Span {
        context,
        parent: parent.map(|parent| parent.span),
        kind: Kind::Server,
        name: name(head, info).into(),
        start: received,
        end: received,
        attributes: attributes(head, audit_id),
        link: sent.filter(|_| !trusted),
        failed: false,
    };
    let status = std::sync::atomic::AtomicU16::new(0);
    (onward, Some(Active(Arc::new(Server { tracer: tracer.clone(), span: Some(span), status }))))
}

/// `GET /api/v1/namespaces/{:namespace}/pods/{:name}`: the request without what tells it from others of its kind.
fn name(head: &Parts, info: &RequestInfo) -> String {
    let method = &head.method;
    if !info.is_resource {
        return method.to_string();
    }
    let mut name = if info.api_group.is_empty() {
        format!("{method} /api/{}", info.api_version)
    } else {
        format!("{method} /apis/{}/{}", info.api_group, info.api_version)
    };
    if !info.namespace.is_empty() {
        name.push_str("/namespaces/{:namespace}");
    }
    name.push('/');
    name.push_str(&info.resource);
    if !info.name.is_empty() {
        name.push_str("/{:name}");
    }
    if !info.subresource.is_empty() {
        name.push('/');
        name.push_str(&info.subresource);
    }
    name
}

fn attributes(head: &Parts, audit_id: &str) -> Vec<Attribute> {
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let agent = head.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let text = |text: &str| Value::Text(text.to_owned());
    vec![
        ("http.request.method", text(head.method.as_str())),
        ("url.scheme", text("https")),
        ("url.path", text(head.uri.path())),
        ("user_agent.original", text(agent.unwrap_or_default())),
        ("http.target", text(target)),
        (AUDIT_ID, text(audit_id)),
    ]
}

impl Active {
    fn span(&self) -> &Span {
        self.0.span.as_ref().expect("taken only as the last holder goes")
    }

    pub fn context(&self) -> SpanContext {
        self.span().context
    }

    pub fn audit_id(&self) -> Attribute {
        let found = self.span().attributes.iter().find(|(name, _)| *name == AUDIT_ID);
        found.cloned().unwrap_or((AUDIT_ID, Value::Text(String::new())))
    }

    pub fn answered(&self, status: u16) {
        self.0.status.store(status, std::sync::atomic::Ordering::Relaxed);
    }

    /// A step within, which begins.
    pub fn within(&self, parent: SpanContext, name: Cow<'static, str>, kind: Kind) -> Span {
        let (context, start) = (self.0.tracer.place(Some(parent)), now());
        let (parent, attributes) = (Some(parent.span), Vec::new());
        Span { context, parent, kind, name, start, end: start, attributes, link: None, failed: false }
    }

    /// It is over.
    pub fn finish(&self, mut step: Span) {
        step.end = now();
        self.0.tracer.finish(step);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else { return };
        let status = *self.status.get_mut();
        span.end = now();
        span.failed = status >= 500;
        span.attributes.push(("http.response.status_code", Value::Number(status.into())));
        self.tracer.finish(span);
    }
}
