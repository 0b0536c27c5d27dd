//! One server behind another: whoever asks the first for a group of the second's finds it there.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;

use base64::Engine as _;
use harness::{AllowAll, Api};
use orlop_server::pki::{self, Pki};
use orlop_server::{Security, SecurityConfig, Server};
use orlop_store::Store;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

struct Pair {
    front: Api,
    behind: Arc<Server>,
    authority: String,
    port: u16,
    _dir: tempfile::TempDir,
}

/// Both trust one front proxy. The one behind has a group that the other does not know, and real authentication.
async fn pair() -> Pair {
    let dir = tempfile::tempdir().unwrap();
    let pki = Arc::new(
        Pki::open(pki::Config {
            dir: dir.path().join("pki"),
            node_name: "node".into(),
            addresses: vec!["127.0.0.1".parse().unwrap()],
            service_address: "10.96.0.1".parse().unwrap(),
            cluster_domain: "cluster.local".into(),
            extra_names: vec!["things.other.svc".into()],
        })
        .unwrap(),
    );
    let store = Store::open(orlop_store::Config::in_memory()).await.unwrap();
    let security = Security::new(&store, pki.clone(), SecurityConfig::default()).unwrap();
    let behind = Server::new(security.server_config());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(behind.clone().serve(listener, pki.server_config().unwrap(), CancellationToken::new()));
    tokio::spawn(behind.clone().maintain(CancellationToken::new()));
    let certificate = pki.front_proxy_client.clone();
    let front = harness::with(Arc::new(AllowAll::default()), |config| config.front_proxy = Some(certificate)).await;
    tokio::spawn(front.server.clone().maintain(CancellationToken::new()));
    let authority = base64::engine::general_purpose::STANDARD.encode(pki.cluster_ca().pem());
    Pair { front, behind, authority, port, _dir: dir }
}

impl Pair {
    /// As the one that is called directly sees the other.
    fn behind(&self) -> Api {
        let groups = vec!["system:masters".to_owned()];
        let user = orlop_client::transport::UserInfo { name: "root".into(), groups, ..Default::default() };
        Api { component: self.behind.component(user), server: self.behind.clone() }
    }

    async fn define(&self) {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let spec = json!({
            "group": "example.com", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
            "versions": [version],
        });
        let behind = self.behind();
        behind.post(DEFINITIONS, json!({"metadata": {"name": "things.example.com"}, "spec": spec})).await.is(201);
        until(&behind, &format!("{DEFINITIONS}?watch=true"), "Established", "True").await;
    }

    /// Registers `VERSION.GROUP` with the server behind.
    async fn register(&self, version: &str, group: &str) {
        let spec = json!({
            "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"namespace": "other", "name": "things", "port": self.port}, "caBundle": self.authority,
        });
        let name = format!("{version}.{group}");
        self.front.post(API_SERVICES, json!({"metadata": {"name": name}, "spec": spec})).await.is(201);
    }

    /// A Service that leads to this host, where the server behind listens.
    async fn lead(&self) {
        self.front.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.is(201);
        let spec = json!({"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]});
        let service = json!({"metadata": {"name": "things"}, "spec": spec});
        self.front.post("/api/v1/namespaces/other/services", service).await.is(201);
    }
}

/// Waits until a condition of the first object that is watched stands so; the condition.
async fn until(api: &Api, watch: &str, kind: &str, status: &str) -> Value {
    let mut events = api.watch(watch).await;
    loop {
        let object = events.next().await.expect("an event")["object"].take();
        let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        if let Some(found) = conditions.find(|c| c["type"] == kind && c["status"] == status) {
            return found.clone();
        }
    }
}

#[tokio::test]
async fn a_group_of_another_server_is_served_found_and_described() {
    let pair = pair().await;
    pair.define().await;
    pair.register("v1", "example.com").await;
    let watch = format!("{API_SERVICES}?watch=true&fieldSelector=metadata.name%3Dv1.example.com");
    let missing = until(&pair.front, &watch, "Available", "False").await;
    assert_eq!(missing["message"], "service/things in \"other\" is not present");
    let refused = pair.front.get("/apis/example.com/v1/things").await.is(503);
    assert_eq!(refused.text(), "service unavailable\n");

    pair.lead().await;
    let available = until(&pair.front, &watch, "Available", "True").await;
    assert_eq!((&available["reason"], &available["message"]), (&json!("Passed"), &json!("all checks passed")));

    let metrics = pair.front.get("/metrics").await.is(200).text();
    assert!(metrics.contains("aggregator_unavailable_apiservice{name=\"v1.example.com\"} "), "{metrics}");

    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}});
    pair.front.post("/apis/example.com/v1/things", thing).await.is(201);
    pair.behind().get("/apis/example.com/v1/things/a").await.is(200);
    let mut things = pair.front.watch("/apis/example.com/v1/things?watch=true").await;
    assert_eq!(things.brief().await, "ADDED a");

    let groups = pair.front.get("/apis").await.is(200).json();
    assert_eq!(groups["groups"].as_array().unwrap().last().unwrap()["name"], "example.com");
    pair.front.get("/apis/example.com").await.is(200).has(json!({"preferredVersion": {"version": "v1"}}));
    pair.front.get("/apis/example.com/v1").await.is(200).has(json!({"groupVersion": "example.com/v1"}));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let found = pair.front.get_as("/apis", aggregated).await.is(200).json();
    let version = &found["items"].as_array().unwrap().last().unwrap()["versions"][0];
    assert_eq!((&version["freshness"], &version["resources"][0]["resource"]), (&json!("Current"), &json!("things")));

    let index = pair.front.get("/openapi/v3").await.is(200).json();
    let place = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = pair.front.get(&place).await.is(200).json();
    assert!(document["paths"]["/apis/example.com/v1/things"].is_object());
    let whole = pair.front.get("/openapi/v2").await.is(200).json();
    assert!(whole["paths"]["/apis/example.com/v1/things"].is_object());
    assert!(whole["definitions"]["com.example.v1.Thing"].is_object());
}

#[tokio::test]
async fn the_other_server_learns_who_asks() {
    let pair = pair().await;
    pair.lead().await;
    pair.register("v1", "authentication.k8s.io").await;
    let watch = format!("{API_SERVICES}?watch=true&fieldSelector=metadata.name%3Dv1.authentication.k8s.io");
    until(&pair.front, &watch, "Available", "True").await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let user = pair.front.post(path, review).await.is(201).json()["status"]["userInfo"].take();
    assert_eq!(user["username"], "tester");
    assert_eq!(user["groups"], json!(["system:masters", "system:authenticated"]));
}
