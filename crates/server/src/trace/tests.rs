use http::{HeaderMap, Method};
use orlop_client::transport::UserInfo;

use super::*;
use crate::request::RequestInfo;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn tracer(per_million: u32) -> (Arc<Tracer>, mpsc::Receiver<Span>) {
    let (spans, queue) = mpsc::channel(16);
    let (stop, sending) = (CancellationToken::new(), TaskTracker::new());
    (Arc::new(Tracer { below: bound(per_million), spans, stop, sending }), queue)
}

fn ask(tracer: &Arc<Tracer>, group: &str, traceparent: Option<&'static str>) -> Option<Active> {
    let path = "/apis/apps/v1/namespaces/a/deployments/x/scale";
    let mut head = http::Request::get(path).body(()).expect("a request").into_parts().0;
    head.headers = HeaderMap::new();
    if let Some(value) = traceparent {
        head.headers.insert("traceparent", value.parse().expect("a value"));
    }
    let user = UserInfo { name: "jane".into(), groups: vec![group.into()], ..UserInfo::default() };
    begin(Some(tracer), &head, &RequestInfo::parse(&Method::GET, path), &user, "id-1", 7).1
}

#[test]
fn those_who_may_decide_what_is_traced() {
    let (tracer, mut queue) = tracer(0);
    assert!(ask(&tracer, "a", None).is_none());
    assert!(ask(&tracer, "a", Some(PARENT)).is_none(), "anybody could say that");
    let off = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert!(ask(&tracer, "system:masters", Some(off)).is_none());
    let active = ask(&tracer, "system:monitoring", Some(PARENT)).expect("traced");
    active.finish(active.within(active.context(), "Get".into(), otlp::Kind::Internal));
    active.answered(200);
    drop(active);
    let (step, span) = (queue.try_recv().expect("a step"), queue.try_recv().expect("a span"));
    assert_eq!((&*step.name, step.parent, step.context.trace[0]), ("Get", Some(span.context.span), 0x0a));
    assert_eq!(span.name, "GET /apis/apps/v1/namespaces/{:namespace}/deployments/{:name}/scale");
    assert_eq!((span.parent.map(|parent| parent[0]), span.start, span.failed), (Some(0xb7), 7, false));
    assert!(span.attributes.contains(&("audit-id", otlp::Value::Text("id-1".into()))));
    assert!(span.attributes.contains(&("http.response.status_code", otlp::Value::Number(200))));
}

#[test]
fn others_are_told_what_the_sender_said_or_what_became_of_it() {
    let mut head = http::Request::get("/api").body(()).expect("a request").into_parts().0;
    for (name, value) in [("traceparent", PARENT), ("tracestate", "a=b"), ("baggage", "c=d")] {
        head.headers.insert(name, value.parse().expect("a value"));
    }
    let told = |tracer: Option<&Arc<Tracer>>, group: &str| {
        let user = UserInfo { groups: vec![group.into()], ..UserInfo::default() };
        let onward = begin(tracer, &head, &RequestInfo::parse(&Method::GET, "/api"), &user, "", 7).0;
        let mut headers = HeaderMap::new();
        onward.insert(onward.context, &mut headers);
        ["traceparent", "tracestate", "baggage"]
            .map(|name| headers.get(name).map(|value| value.to_str().unwrap_or("")).map(str::to_owned))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told(None, "a"), [text(PARENT), text("a=b"), text("c=d")], "nobody here traces");
    let (tracer, _queue) = tracer(0);
    let [parent, state, baggage] = told(Some(&tracer), "a");
    assert!(parent.is_some_and(|parent| parent.ends_with("-00") && !parent.starts_with(&PARENT[..35])));
    assert_eq!((state, baggage), (None, text("c=d")));
    let [parent, state, _] = told(Some(&tracer), "system:masters");
    assert!(parent.is_some_and(|parent| parent.starts_with(&PARENT[..36]) && parent != PARENT));
    assert_eq!(state, text("a=b"));
}

#[test]
fn strangers_get_traces_of_their_own() {
    let (tracer, mut queue) = tracer(1_000_000);
    drop(ask(&tracer, "a", Some(PARENT)).expect("traced"));
    let span = queue.try_recv().expect("a span");
    assert_eq!((span.parent, span.link.map(|link| link.trace[0])), (None, Some(0x0a)));
    assert_ne!(span.context.trace[..4], [0x0a, 0xf7, 0x65, 0x19]);
}

#[test]
fn spans_are_encoded_as_collectors_read_them() {
    let span = Span {
        context: SpanContext { trace: [1; 16], span: [2; 8], sampled: true },
        parent: Some([3; 8]),
        kind: otlp::Kind::Server,
        name: "GET".into(),
        start: 1,
        end: 2,
        attributes: vec![("a", otlp::Value::Number(5))],
        link: None,
        failed: true,
    };
    let message = otlp::request("i", &[span]);
    let want = [
        &b"\x0a\x10\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x12\x08\x02\x02\x02\x02\x02\x02\x02\x02"[..],
        b"\x22\x08\x03\x03\x03\x03\x03\x03\x03\x03\x2a\x03GET\x30\x02",
        b"\x39\x01\0\0\0\0\0\0\0\x41\x02\0\0\0\0\0\0\0\x4a\x07\x0a\x01a\x12\x02\x18\x05\x7a\x02\x18\x02",
    ]
    .concat();
    assert!(message.as_bytes().ends_with(&want), "{message:?}");
}
