//! Admission plugins and webhooks, from a client's side.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use futures_util::future::BoxFuture;
use harness::{api, hook};
use orlop_base::port::ReservedPort;
use orlop_client::transport::UserInfo;
use orlop_server::auth::{Authorizer, Decision};
use orlop_server::authz::ClaimStatus;
use orlop_server::request::RequestInfo;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// A webhook that answers as `decide` says of the request; its client configuration.
async fn webhook(decide: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> Value {
    hook::serve(move |review| {
        let mut response = decide(&review["request"]);
        response["uid"] = review["request"]["uid"].clone();
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    })
    .await
}

fn a_hook(name: &str, client: Value) -> Value {
    json!({"name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
           "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]})
}

fn patch(operations: &Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"})
}

#[tokio::test]
async fn webhooks_change_and_refuse() {
    let api = api().await;
    let mutating = webhook(|request| {
        assert_eq!((&request["operation"], &request["resource"]["resource"]), (&json!("CREATE"), &json!("configmaps")));
        // Go's decoders take no list where a map belongs, be it empty.
        let user = json!({"username": "tester", "groups": ["system:masters", "system:authenticated"]});
        assert_eq!(request["userInfo"], user);
        patch(&json!([{"op": "add", "path": "/data", "value": {"touched": "yes"}}]))
    })
    .await;
    let validating = webhook(|request| match request["object"]["metadata"]["name"].as_str() {
        Some("bad") => json!({"allowed": false, "status": {"code": 403, "message": "not this one"}}),
        _ => json!({"allowed": true, "warnings": ["look out"]}),
    })
    .await;
    api.post(MUTATING, json!({"metadata": {"name": "m"}, "webhooks": [a_hook("m.example.com", mutating)]}))
        .await
        .is(201);
    api.post(VALIDATING, json!({"metadata": {"name": "v"}, "webhooks": [a_hook("v.example.com", validating)]}))
        .await
        .is(201);
    let made = api.post(MAPS, json!({"metadata": {"name": "good"}})).await.is(201);
    assert_eq!(made.header("warning"), "299 - \"look out\"");
    made.has(json!({"data": {"touched": "yes"}}));
    api.post(MAPS, json!({"metadata": {"name": "bad"}}))
        .await
        .fails(403, "admission webhook \"v.example.com\" denied the request: not this one");
    let metrics = api.get("/metrics").await.is(200).text();
    for line in [
        "apiserver_admission_webhook_rejection_count{name=\"v.example.com\",type=\"validating\",operation=\"CREATE\",\
         error_type=\"no_error\",rejection_code=\"403\"}",
        "apiserver_admission_webhook_request_total{name=\"m.example.com\",type=\"admit\",operation=\"CREATE\",code=\"200\",\
         rejected=\"false\"}",
        "apiserver_admission_controller_admission_duration_seconds_count{name=\"MutatingAdmissionWebhook\",type=\"admit\",\
         operation=\"CREATE\",rejected=\"false\"}",
        "apiserver_admission_step_admission_duration_seconds_count{type=\"validate\",operation=\"CREATE\",rejected=\"true\"}",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_fails_as_its_policy_says() {
    let api = api().await;
    let port = ReservedPort::new().unwrap();
    let client = json!({"url": format!("https://{}/", port.address)});
    let mut closed = a_hook("c.example.com", client);
    api.post(VALIDATING, json!({"metadata": {"name": "v"}, "webhooks": [closed]})).await.is(201);
    let refused = api.post(MAPS, json!({"metadata": {"name": "a"}})).await.is(500).json();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "Internal error occurred: failed calling webhook \"c.example.com\": failed to call webhook: Post"
        ),
        "{message}"
    );
    assert!(message.ends_with("connect: connection refused"), "{message}");
    // Repair is never in the way of what is to be repaired.
    closed["failurePolicy"] = "Ignore".into();
    api.patch(&format!("{VALIDATING}/v"), "merge", json!({"webhooks": [closed]})).await.is(200);
    api.post(MAPS, json!({"metadata": {"name": "a"}})).await.is(201);
}

#[tokio::test]
async fn selectors_and_rules_keep_webhooks_out() {
    let api = api().await;
    let refusing = webhook(|_| json!({"allowed": false})).await;
    let mut picky = a_hook("p.example.com", refusing);
    picky["objectSelector"] = json!({"matchLabels": {"watch": "me"}});
    api.post(VALIDATING, json!({"metadata": {"name": "v"}, "webhooks": [picky]})).await.is(201);
    api.post(MAPS, json!({"metadata": {"name": "a"}})).await.is(201);
    api.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "a", "labels": {"watch": "me"}}}))
        .await
        .is(201);
    api.post(MAPS, json!({"metadata": {"name": "b", "labels": {"watch": "me"}}}))
        .await
        .fails(400, "admission webhook \"p.example.com\" denied the request without explanation");
}

#[tokio::test]
async fn namespaces_ask_for_a_level_of_security() {
    let api = api().await;
    let labels = |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    api.patch("/api/v1/namespaces/default", "merge", labels("strict")).await.fails(
        422,
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must \
         be one of privileged, baseline, restricted",
    );
    api.patch("/api/v1/namespaces/default", "merge", labels("baseline")).await.is(200);
    let pod = |spec: Value| json!({"metadata": {"name": "p"}, "spec": spec});
    let container = json!([{"name": "c", "image": "i"}]);
    api.post("/api/v1/namespaces/default/pods", pod(json!({"hostPID": true, "containers": container}))).await.fails(
        403,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)",
    );
    api.post("/api/v1/namespaces/default/pods", pod(json!({"containers": container}))).await.is(201);
    let stricter = api.patch("/api/v1/namespaces/default", "merge", labels("restricted")).await.is(200);
    assert!(stricter.header("warning").contains("existing pods in namespace"), "{}", stricter.header("warning"));
}

#[tokio::test]
async fn classes_are_defaulted() {
    let api = api().await;
    let class = json!({"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
                       "provisioner": "p"});
    api.post("/apis/storage.k8s.io/v1/storageclasses", class).await.is(201);
    let claim = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
                                    "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    api.post(claims, claim("a")).await.is(201).has(json!({"spec": {"storageClassName": "fast"}}));
    let mut none = claim("b");
    none["spec"]["storageClassName"] = "".into();
    api.post(claims, none).await.is(201).has(json!({"spec": {"storageClassName": ""}}));
    let runtime = json!({"metadata": {"name": "r"}, "handler": "h", "overhead": {"podFixed": {"cpu": "10m"}}});
    api.post("/apis/node.k8s.io/v1/runtimeclasses", runtime).await.is(201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"runtimeClassName": "r", "containers": [{"name": "c", "image": "i"}]}});
    api.post("/api/v1/namespaces/default/pods", pod).await.is(201).has(json!({"spec": {"overhead": {"cpu": "10m"}}}));
}

#[tokio::test]
async fn conditions_keep_webhooks_out() {
    let api = api().await;
    let client = webhook(|_| json!({"allowed": false})).await;
    let with = |conditions: &Value| {
        let mut hook = a_hook("h.example.com", client.clone());
        hook["matchConditions"] = conditions.clone();
        json!({"metadata": {"name": "conditions"}, "webhooks": [hook]})
    };
    let wrong =
        json!([{"name": "a", "expression": "object.metadata.name"}, {"name": "b", "expression": "nothing == 1"}]);
    let refused = api.post(VALIDATING, with(&wrong)).await.is(422).json();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message
            .contains("webhooks[0].matchConditions[1].expression: Invalid value: \"nothing == 1\": compilation failed")
    );
    let conditions = json!([
        {"name": "not-free", "expression": "!object.metadata.name.startsWith('free')"},
        {"name": "who", "expression": "request.operation == 'CREATE' && authorizer.group('').resource('pods').check('get').allowed()"},
        {"name": "odd", "expression": "object.metadata.name != 'odd' || object.data.missing == 'x'"},
    ]);
    api.post(VALIDATING, with(&conditions)).await.is(201);
    api.post(MAPS, json!({"metadata": {"name": "free"}})).await.is(201);
    api.post(MAPS, json!({"metadata": {"name": "bound"}}))
        .await
        .fails(400, "admission webhook \"h.example.com\" denied the request without explanation");
    api.post(MAPS, json!({"metadata": {"name": "odd"}})).await.fails(
        403,
        "configmaps \"odd\" is forbidden: expression 'object.metadata.name != 'odd' || object.data.missing == 'x'' resulted \
         in error: no such key: data",
    );
    api.patch(
        &format!("{VALIDATING}/conditions"),
        "json",
        json!([{"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]),
    )
    .await
    .is(200);
    api.post(MAPS, json!({"metadata": {"name": "odd"}})).await.is(201);
}

/// Events are served by two groups, HPAs in two versions; a scale has a kind of its own.
#[tokio::test]
async fn webhooks_see_the_kind_that_their_rules_name() {
    let api = api().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let client = webhook(move |request| {
        let what = |kind: &Value| {
            format!(
                "{}/{} {}",
                kind["group"].as_str().unwrap(),
                kind["version"].as_str().unwrap(),
                kind["kind"].as_str().unwrap()
            )
        };
        let object = &request["object"];
        noted.lock().unwrap().push((
            what(&request["kind"]),
            what(&request["requestKind"]),
            object["apiVersion"].clone(),
        ));
        json!({"allowed": true})
    })
    .await;
    let rule = |group: &str, version: &str, resource: &str| json!({"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]});
    let mut hook = a_hook("v.example.com", client);
    hook["rules"] = json!([
        rule("events.k8s.io", "v1", "events"),
        rule("autoscaling", "v1", "horizontalpodautoscalers"),
        rule("apps", "v1", "deployments/scale")
    ]);
    api.post(VALIDATING, json!({"metadata": {"name": "v"}, "webhooks": [hook]})).await.is(201);
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}});
    api.post("/api/v1/namespaces/default/events", event).await.is(201);
    let scaler = json!({"metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 2}});
    api.post("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", scaler).await.is(201);
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    api.post(DEPLOYMENTS, deployment).await.is(201);
    api.patch(&format!("{DEPLOYMENTS}/d/scale"), "merge", json!({"spec": {"replicas": 3}})).await.is(200);
    let texts = |of: [&str; 3]| (of[0].to_owned(), of[1].to_owned(), json!(of[2]));
    assert_eq!(
        *seen.lock().unwrap(),
        [
            texts(["events.k8s.io/v1 Event", "/v1 Event", "events.k8s.io/v1"]),
            texts([
                "autoscaling/v1 HorizontalPodAutoscaler",
                "autoscaling/v2 HorizontalPodAutoscaler",
                "autoscaling/v1"
            ]),
            texts(["autoscaling/v1 Scale", "autoscaling/v1 Scale", "autoscaling/v1"]),
        ]
    );
}

#[tokio::test]
async fn pods_are_resized_within_what_their_node_can_do() {
    let api = api().await;
    let status = json!({"allocatable": {"cpu": "2", "memory": "1Gi"}, "declaredFeatures": []});
    api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}, "status": status})).await.is(201);
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}});
    let init = json!({"name": "i", "image": "i", "resources": {"requests": {"cpu": "1"}}});
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [container], "initContainers": [init]}});
    api.post(PODS, pod).await.is(201);
    let resize = |list: &str, cpu: &str| {
        let name = if list == "containers" { "c" } else { "i" };
        json!({"spec": {list: [{"name": name, "resources": {"requests": {"cpu": cpu}}}]}})
    };
    let path = format!("{PODS}/p/resize");
    api.patch(&path, "strategic", resize("containers", "3")).await.fails(
        403,
        "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000",
    );
    api.patch(&path, "strategic", resize("initContainers", "2")).await.fails(
        403,
        "pods \"p\" is forbidden: pod update requires features InPlacePodVerticalScalingInitContainers which are not \
         available on node \"n\"",
    );
    api.patch(&path, "strategic", resize("containers", "2")).await.is(200);
}

/// Allows everything but one subresource.
struct Without(&'static str);

impl Authorizer for Without {
    fn authorize<'a>(&'a self, _: &'a UserInfo, request: &'a RequestInfo) -> BoxFuture<'a, Decision> {
        let allowed = request.subresource != self.0;
        let reason = String::new();
        Box::pin(std::future::ready(if allowed { Decision::Allow { reason } } else { Decision::NoOpinion { reason } }))
    }
}

#[tokio::test]
async fn a_claims_status_has_parts_with_rights_of_their_own() {
    const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let device = json!({"driver": "d.example.com", "pool": "p", "device": "x"});
    let mut result = device.clone();
    result["request"] = "r".into();
    let allocated = json!({"allocation": {"devices": {"results": [result]}}});
    let mut told = allocated.clone();
    told["devices"] = json!([device]);
    for (without, changes, refused) in [
        (
            "binding",
            vec![allocated.clone()],
            "ResourceClaim.resource.k8s.io \"c\" is invalid: status.allocation: Forbidden: changing status.allocation or \
             status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: \
             resourceclaims.resource.k8s.io is forbidden: User \"tester\" cannot patch resource \
             \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope",
        ),
        (
            "driver",
            vec![allocated, told],
            "ResourceClaim.resource.k8s.io \"c\" is invalid: status.devices: Forbidden: changing status.devices requires \
             resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" permission: \
             resourceclaims.resource.k8s.io \"d.example.com\" is forbidden: User \"tester\" cannot arbitrary-node:patch \
             resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"default\"",
        ),
    ] {
        let api =
            harness::with(Arc::new(Without(without)), |config| config.admission.push(Arc::new(ClaimStatus))).await;
        api.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.is(201);
        let spec = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}});
        api.post(CLAIMS, json!({"metadata": {"name": "c"}, "spec": spec})).await.is(201);
        let (last, before) = changes.split_last().unwrap();
        for status in before {
            api.patch(&format!("{CLAIMS}/c/status"), "merge", json!({ "status": status })).await.is(200);
        }
        api.patch(&format!("{CLAIMS}/c/status"), "merge", json!({ "status": last })).await.fails(422, refused);
    }
}
