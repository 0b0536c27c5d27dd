//! What is recorded of requests, in a file and at a webhook.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use futures_util::future::BoxFuture;
use harness::{AllowAll, Api, DenyAll, hook, missing, with};
use http::Request;
use orlop_api::status::StatusError;
use orlop_client::transport::{UserInfo, empty};
use orlop_server::audit::{Audit, Batch, Format, HookOptions, LogOptions, Mode, Options, Truncation};
use orlop_server::auth::{Authenticator, Authorizer, Peer};
use serde_json::{Value, json};
use tempfile::TempDir;

fn batch() -> Batch {
    Batch {
        buffer_size: 100,
        max_size: 400,
        max_wait: Duration::from_secs(30),
        throttle_enable: true,
        throttle_qps: 10.0,
        throttle_burst: 15,
    }
}

fn truncation(max_event_size: i64) -> Truncation {
    Truncation { enabled: max_event_size > 0, max_batch_size: 1 << 20, max_event_size: max_event_size.max(1) }
}

fn log(path: PathBuf, mode: Mode) -> LogOptions {
    LogOptions {
        path,
        mode,
        format: Format::Json,
        max_age: 0,
        max_backups: 0,
        max_size: 1,
        compress: false,
        batch: batch(),
        truncation: truncation(0),
    }
}

/// A policy file of these rules.
fn policy(dir: &TempDir, rules: &Value) -> PathBuf {
    let path = dir.path().join("policy.yaml");
    let policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
    std::fs::write(&path, policy.to_string()).unwrap();
    path
}

/// A server that records into `audit.log` as the rules say.
async fn recording(dir: &TempDir, rules: Value, authorizer: Arc<dyn Authorizer>) -> Api {
    let options = Options {
        policy_file: Some(policy(dir, &rules)),
        log: Some(log(dir.path().join("audit.log"), Mode::Blocking)),
        hook: None,
    };
    let audit = Audit::start(options).unwrap();
    with(authorizer, |config| config.audit = audit).await
}

/// The recorded events, oldest first.
fn recorded(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_has(event: &Value, want: &Value) {
    if let Some(why) = missing(event, want, "") {
        panic!("{why}\nin {event:#}");
    }
}

#[tokio::test]
async fn a_write_is_recorded_with_its_objects() {
    let dir = tempfile::tempdir().unwrap();
    let rules = json!([{"level": "RequestResponse", "omitManagedFields": true}]);
    let api = recording(&dir, rules, Arc::new(AllowAll::default())).await;
    let made = api
        .send(
            "POST",
            "/api/v1/namespaces?fieldManager=me",
            &[("content-type", "application/json"), ("audit-id", "mine"), ("x-forwarded-for", "192.0.2.1")],
            json!({"metadata": {"name": "a"}}).to_string(),
        )
        .await
        .is(201);
    assert_eq!(made.header("audit-id"), "mine");
    let events = recorded(dir.path());
    assert_eq!(events.len(), 2);
    let common = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "mine",
        "requestURI": "/api/v1/namespaces?fieldManager=me", "verb": "create",
        "user": {"username": "tester", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["192.0.2.1", "127.0.0.1"],
        "requestReceivedTimestamp": events[0]["stageTimestamp"],
    });
    events.iter().for_each(|event| assert_has(event, &common));
    let received = json!({"stage": "RequestReceived", "responseStatus": null, "requestObject": null,
                          "objectRef": {"resource": "namespaces", "apiVersion": "v1", "name": null}});
    assert_has(&events[0], &received);
    let complete = json!({
        "stage": "ResponseComplete", "objectRef": {"resource": "namespaces", "name": "a"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestObject": {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}},
        "responseObject": {"kind": "Namespace", "metadata": {"managedFields": null, "name": "a"},
                           "status": {"phase": "Active"}},
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    });
    assert_has(&events[1], &complete);
}

#[tokio::test]
async fn refusals_failures_and_deletions_say_how_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let rules = json!([{"level": "Request", "omitStages": ["RequestReceived"]}]);
    let api = recording(&dir, rules.clone(), Arc::new(AllowAll::default())).await;
    api.get("/api/v1/namespaces/none").await.is(404);
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await.is(201);
    api.patch("/api/v1/namespaces/a", "merge", json!({"metadata": {"labels": {"x": "y"}}})).await.is(200);
    let maps = "/api/v1/namespaces/a/configmaps";
    api.post(maps, json!({"metadata": {"name": "m"}})).await.is(201);
    api.delete_with(&format!("{maps}/m"), json!({"propagationPolicy": "Background"})).await.is(200);
    let events = recorded(dir.path());
    let details = json!({"name": "none", "kind": "namespaces"});
    let wants = [
        json!({"responseStatus": {"status": "Failure", "reason": "NotFound", "code": 404, "details": details,
                                  "message": "namespaces \"none\" not found"}}),
        json!({"responseObject": null, "requestObject": {"kind": "Namespace"}}),
        json!({"verb": "patch", "requestObject": {"metadata": {"labels": {"x": "y"}}}}),
        json!({"verb": "create", "objectRef": {"namespace": "a", "name": "m"}}),
        json!({"verb": "delete", "requestObject": {"propagationPolicy": "Background"},
               "responseStatus": {"status": "Success", "code": 200, "details": {"name": "m", "kind": "configmaps"}}}),
    ];
    assert_eq!(events.len(), wants.len());
    events.iter().zip(&wants).for_each(|(event, want)| assert_has(event, want));

    let dir = tempfile::tempdir().unwrap();
    let api = recording(&dir, rules, Arc::new(DenyAll)).await;
    api.get("/api/v1/pods").await.is(403);
    let want = json!({"responseStatus": {"reason": "Forbidden", "code": 403},
                      "annotations": {"authorization.k8s.io/decision": "forbid"}});
    assert_has(&recorded(dir.path())[0], &want);
}

#[tokio::test]
async fn a_watch_is_complete_when_its_client_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let rules = json!([{"level": "None", "resources": [{"resources": ["namespaces"]}]}, {"level": "Metadata"}]);
    let api = recording(&dir, rules, Arc::new(AllowAll::default())).await;
    let response = api.open("GET", "/api/v1/pods?watch=1", &[], "").await;
    api.get("/api/v1/namespaces").await.is(200);
    let stages = || recorded(dir.path()).iter().map(|event| event["stage"].clone()).collect::<Vec<_>>();
    assert_eq!(stages(), ["RequestReceived", "ResponseStarted"]);
    drop(response);
    assert_eq!(stages(), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
}

#[tokio::test]
async fn a_strict_log_that_cannot_be_written_fails_requests() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, code) in [(Mode::Blocking, 200), (Mode::BlockingStrict, 500)] {
        let options = Options {
            policy_file: Some(policy(&dir, &json!([{"level": "Metadata"}]))),
            log: Some(log("/dev/full".into(), mode)),
            hook: None,
        };
        let audit = Audit::start(options).unwrap();
        let api = with(Arc::new(AllowAll::default()), |config| config.audit = audit).await;
        let answer = api.get("/api/v1/pods").await.is(code);
        if code == 500 {
            assert_eq!(answer.text(), "Internal Server Error: \"/api/v1/pods\": failed to store audit event\n");
        }
        let metrics = api.get("/metrics").await.text();
        assert_eq!(metrics.contains("apiserver_audit_error_total{plugin=\"log\"}"), code == 200, "{metrics}");
    }
}

/// Knows nobody.
struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(
        &'a self,
        _: &'a Peer,
        _: &'a http::request::Parts,
    ) -> BoxFuture<'a, Result<Option<UserInfo>, StatusError>> {
        Box::pin(async { Err(StatusError::unauthorized()) })
    }
}

#[tokio::test]
async fn callers_that_are_not_let_in_are_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        policy_file: Some(policy(&dir, &json!([{"level": "Metadata"}]))),
        log: Some(log(dir.path().join("audit.log"), Mode::Batch)),
        hook: None,
    };
    let audit = Audit::start(options).unwrap();
    let api = with(Arc::new(AllowAll::default()), |config| {
        config.audit = audit.clone();
        config.authenticators.push(Arc::new(Nobody));
    })
    .await;
    let response = api.server.handle(Request::get("/api/v1/pods").body(empty()).unwrap()).await;
    assert_eq!(response.status(), 401);
    audit.unwrap().close().await;
    let events = recorded(dir.path());
    assert_eq!(events.len(), 1);
    let status = json!({"status": "Failure", "reason": "Unauthorized", "code": 401, "message": "Unauthorized"});
    assert_has(&events[0], &json!({"stage": "ResponseStarted", "responseStatus": status}));
    assert_eq!(events[0]["user"], json!({}));
}

#[tokio::test]
async fn a_webhook_gets_events_in_batches_and_cut_to_size() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let lists = received.clone();
    let client = hook::serve(move |list| {
        lists.lock().unwrap().push(list.clone());
        json!({})
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config_file = dir.path().join("hook.yaml");
    let kubeconfig = json!({
        "clusters": [{"name": "c", "cluster": {"server": client["url"], "certificate-authority-data": client["caBundle"]}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": ""}}], "current-context": "x",
    });
    std::fs::write(&config_file, kubeconfig.to_string()).unwrap();
    let hook = HookOptions {
        config_file,
        mode: Mode::Batch,
        initial_backoff: Duration::from_millis(1),
        batch: batch(),
        truncation: truncation(4096),
    };
    let rules = json!([{"level": "RequestResponse", "omitStages": ["RequestReceived"]}]);
    let options = Options { policy_file: Some(policy(&dir, &rules)), log: None, hook: Some(hook) };
    let audit = Audit::start(options).unwrap();
    let api = with(Arc::new(AllowAll::default()), |config| config.audit = audit.clone()).await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await.is(201);
    let large = json!({"metadata": {"name": "large"}, "data": {"x": "y".repeat(5000)}});
    api.post("/api/v1/namespaces/a/configmaps", large).await.is(201);
    audit.unwrap().close().await;
    let lists = received.lock().unwrap();
    assert_eq!(lists.len(), 1);
    let items = [
        json!({"kind": null, "level": "RequestResponse", "requestObject": {"kind": "Namespace"}}),
        json!({"objectRef": {"name": "large"}, "requestObject": null, "responseObject": null,
               "annotations": {"audit.k8s.io/truncated": "true"}}),
    ];
    assert_has(&lists[0], &json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items}));
}

#[tokio::test]
async fn admission_annotates_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let rules = json!([{"level": "Request", "omitStages": ["RequestReceived"], "verbs": ["create"],
                        "resources": [{"resources": ["pods", "configmaps"]}]}]);
    let api = recording(&dir, rules, Arc::new(AllowAll::default())).await;
    let labels =
        json!({"pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/audit": "baseline"});
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "a", "labels": labels}})).await.is(201);
    api.post("/api/v1/namespaces/a/serviceaccounts", json!({"metadata": {"name": "default"}})).await.is(201);
    let hook = hook::serve(|review| {
        let patch =
            base64::engine::general_purpose::STANDARD.encode(r#"[{"op":"add","path":"/data","value":{"x":"y"}}]"#);
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {
            "uid": review["request"]["uid"], "allowed": true, "patch": patch, "patchType": "JSONPatch",
            "auditAnnotations": {"seen": "yes"},
        }})
    })
    .await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let constraints =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let hook = json!({"name": "h.example.com", "clientConfig": hook, "sideEffects": "None",
                      "admissionReviewVersions": ["v1"], "rules": constraints});
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [hook]});
    api.post(&format!("{admission}/mutatingwebhookconfigurations"), configuration).await.is(201);
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": constraints},
        "validations": [{"expression": "true"}, {"expression": "false", "message": "never"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "'is ' + object.metadata.name"}],
    }});
    api.post(&format!("{admission}/validatingadmissionpolicies"), policy).await.is(201);
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}});
    api.post(&format!("{admission}/validatingadmissionpolicybindings"), binding).await.is(201);
    api.post("/api/v1/namespaces/a/configmaps", json!({"metadata": {"name": "c"}})).await.is(201);
    let container = json!({"name": "c", "image": "i"});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"hostNetwork": true, "containers": [container]}});
    api.post("/api/v1/namespaces/a/pods", pod).await.is(201);
    let events = recorded(dir.path());
    assert_eq!(events.len(), 2);
    let notes = &events[0]["annotations"];
    let parsed = |key: &str| serde_json::from_str::<Value>(notes[key].as_str().unwrap()).unwrap();
    let place = "webhook.admission.k8s.io/round_0_index_0";
    assert_eq!(
        parsed(&format!("mutation.{place}")),
        json!({"configuration": "m", "webhook": "h.example.com", "mutated": true})
    );
    assert_eq!(parsed(&format!("patch.{place}"))["patch"][0]["op"], "add");
    assert_eq!((&notes["h.example.com/seen"], &notes["p/name"]), (&json!("yes"), &json!("is c")));
    assert_eq!(
        parsed("validation.policy.admission.k8s.io/validation_failure"),
        json!([{"message": "never", "policy": "p", "binding": "b", "expressionIndex": 1, "validationActions": ["Audit"]}])
    );
    let violation = "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    let notes = json!({"pod-security.kubernetes.io/enforce-policy": "privileged:latest",
                       "pod-security.kubernetes.io/audit-violations": violation});
    assert_has(&events[1], &json!({"annotations": notes}));
}
