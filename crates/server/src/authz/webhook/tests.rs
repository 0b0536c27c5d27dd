use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use orlop_api::field::{ErrorList, Path as FieldPath};
use orlop_client::config::Config;
use tokio::net::TcpListener;

use super::*;

type Asked = Arc<Mutex<Vec<Value>>>;

/// A webhook that notes what it is asked, and answers by the name of the resource.
async fn webhook() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}/authorize", listener.local_addr().expect("address"));
    let asked = Asked::default();
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let noted = noted.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let noted = noted.clone();
                async move { Ok::<_, Infallible>(answer(request, &noted).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (url, asked)
}

async fn answer(request: Request<Incoming>, noted: &Asked) -> Response<Full<bytes::Bytes>> {
    assert_eq!(request.uri(), "/authorize?timeout=30s");
    let body = request.into_body().collect().await.expect("body").to_bytes();
    let mut review: Value = serde_json::from_slice(&body).expect("a review");
    noted.lock().unwrap().push(review.clone());
    review["status"] = match review["spec"]["resourceAttributes"]["name"].as_str().unwrap_or_default() {
        "yes" => json!({"allowed": true, "reason": "because"}),
        "no" => json!({"denied": true, "reason": "never"}),
        "both" => json!({"allowed": true, "denied": true}),
        "broken" => return Response::builder().status(403).body("no".into()).expect("response"),
        _ => json!({"allowed": false, "reason": "who knows"}),
    };
    Response::new(review.to_string().into())
}

fn open(url: &str, conditions: &[&str], deny_on_failure: bool, version: &str) -> Webhook {
    let remote = Remote::new(Config { server: url.into(), ..Config::default() }, remote::TIMEOUT).expect("a webhook");
    let settings = Settings {
        authorized_ttl: Duration::from_secs(300),
        unauthorized_ttl: Duration::ZERO,
        version: version.into(),
        deny_on_failure,
    };
    let mut errors = ErrorList::default();
    let expressions: Vec<String> = conditions.iter().map(|text| (*text).to_owned()).collect();
    let conditions = Conditions::compile(&expressions, &FieldPath::new("matchConditions"), &mut errors);
    assert!(errors.is_empty(), "{}", errors.aggregate());
    Webhook::new(remote, settings, conditions)
}

fn alice() -> UserInfo {
    UserInfo { name: "alice".into(), groups: vec!["g".into()], ..UserInfo::default() }
}

fn get(name: &str) -> RequestInfo {
    RequestInfo::parse(&Method::GET, &format!("/api/v1/namespaces/a/pods/{name}"))
}

#[tokio::test]
async fn answers_decide_and_permissions_are_remembered() {
    let (url, asked) = webhook().await;
    let webhook = open(&url, &[], false, "v1");
    let broken = r#"an error on the server ("no") has prevented the request from succeeding"#;
    let both = "webhook subject access review returned both allow and deny response";
    for (name, expected) in [
        ("yes", Decision::Allow { reason: "because".into() }),
        ("no", Decision::Deny { reason: "never".into() }),
        ("other", Decision::NoOpinion { reason: "who knows".into() }),
        ("both", Decision::Failed { denied: true, reason: String::new(), error: both.into() }),
        ("broken", Decision::Failed { denied: false, reason: String::new(), error: broken.into() }),
    ] {
        for _ in 0..2 {
            assert_eq!(webhook.decide("w", &alice(), &get(name)).await, expected, "{name}");
        }
    }
    let names: Vec<String> =
        asked.lock().unwrap().iter().map(|review| review["spec"]["resourceAttributes"]["name"].to_string()).collect();
    assert_eq!(names.iter().filter(|name| *name == "\"yes\"").count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "\"no\"").count(), 2, "{names:?}");
}

#[tokio::test]
async fn reviews_tell_everything_also_selectors() {
    let (url, asked) = webhook().await;
    let list =
        "/api/v1/namespaces/a/pods?fieldSelector=spec.nodeName%3Dn,status.phase!%3DFailed&labelSelector=a+in+(b,c),!d";
    open(&url, &[], false, "v1").decide("w", &alice(), &RequestInfo::parse(&Method::GET, list)).await;
    open(&url, &[], false, "v1beta1").decide("w", &alice(), &RequestInfo::parse(&Method::GET, "/healthz")).await;
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0]["apiVersion"], "authorization.k8s.io/v1");
    assert_eq!(
        asked[0]["spec"],
        json!({"user": "alice", "groups": ["g"], "resourceAttributes": {
            "namespace": "a", "verb": "list", "version": "v1", "resource": "pods",
            "fieldSelector": {"requirements": [
                {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
                {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
            ]},
            "labelSelector": {"requirements": [
                {"key": "a", "operator": "In", "values": ["b", "c"]}, {"key": "d", "operator": "DoesNotExist"},
            ]},
        }})
    );
    assert_eq!(asked[1]["apiVersion"], "authorization.k8s.io/v1beta1");
    let spec = json!({"user": "alice", "group": ["g"], "nonResourceAttributes": {"path": "/healthz", "verb": "get"}});
    assert_eq!(asked[1]["spec"], spec);
}

#[tokio::test]
async fn conditions_keep_it_out() {
    let (url, asked) = webhook().await;
    let pods = "has(request.resourceAttributes) && request.resourceAttributes.resource == 'pods'";
    let nothing = Decision::NoOpinion { reason: String::new() };
    let others = open(&url, &[pods, "request.user != 'alice'"], false, "v1");
    assert_eq!(others.decide("w", &alice(), &get("yes")).await, nothing);
    assert!(asked.lock().unwrap().is_empty());
    let ours = open(&url, &[pods, "'g' in request.groups"], false, "v1");
    assert!(matches!(ours.decide("w", &alice(), &get("yes")).await, Decision::Allow { .. }));
    let failing = open(&url, &["request.resourceAttributes.resource == 'pods'"], true, "v1");
    let health = RequestInfo::parse(&Method::GET, "/healthz");
    let decision = failing.decide("w", &alice(), &health).await;
    assert!(matches!(decision, Decision::Failed { denied: true, .. }), "{decision:?}");
}
