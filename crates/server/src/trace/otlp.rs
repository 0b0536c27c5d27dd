//! Spans as a collector takes them (`opentelemetry/proto/trace/v1/trace.proto`).

use std::borrow::Cow;

use orlop_base::protobuf::Message;

use super::context::SpanContext;

/// Who makes our spans, as upstream's call themselves.
const SCOPE: &str = "k8s.io/component-base/tracing";
const STATUS_ERROR: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
}

pub type Attribute = (&'static str, Value);

/// A step that is over.
#[derive(Clone, Debug)]
pub struct Span {
    pub context: SpanContext,
    pub parent: Option<[u8; 8]>,
    pub kind: Kind,
    pub name: Cow<'static, str>,
    /// Nanoseconds since the epoch.
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<Attribute>,
    /// Another trace that this has to do with.
    pub link: Option<SpanContext>,
    pub failed: bool,
}

/// `ExportTraceServiceRequest`. `instance` tells servers apart.
pub fn request(instance: &str, spans: &[Span]) -> Message {
    let text = |name, text: &str| attribute(&(name, Value::Text(text.to_owned())));
    let resource = Message::default()
        .message(1, text("service.name", "apiserver"))
        .message(1, text("service.instance.id", instance));
    let scope = Message::default().message(1, Message::default().bytes(1, SCOPE.as_bytes()));
    let scope = spans.iter().fold(scope, |scope, span| scope.message(2, encode(span)));
    Message::default().message(1, Message::default().message(1, resource).message(2, scope))
}

fn encode(span: &Span) -> Message {
    let mut message = Message::default().bytes(1, &span.context.trace).bytes(2, &span.context.span);
    if let Some(parent) = &span.parent {
        message = message.bytes(4, parent);
    }
    message =
        message.bytes(5, span.name.as_bytes()).int(6, span.kind as u64).fixed64(7, span.start).fixed64(8, span.end);
    message = span.attributes.iter().fold(message, |message, one| message.message(9, attribute(one)));
    if let Some(link) = &span.link {
        message = message.message(13, Message::default().bytes(1, &link.trace).bytes(2, &link.span));
    }
    if span.failed {
        message = message.message(15, Message::default().int(3, STATUS_ERROR));
    }
    message
}

fn attribute((name, value): &Attribute) -> Message {
    let value = match value {
        Value::Text(text) => Message::default().bytes(1, text.as_bytes()),
        Value::Number(number) => Message::default().int(3, *number as u64),
    };
    Message::default().bytes(1, name.as_bytes()).message(2, value)
}
