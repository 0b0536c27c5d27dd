//! Everything that is not a verb on a resource: discovery, OpenAPI, health, metrics, and the guards
//! in front of every route.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;

use harness::{AllowAll, DenyAll, api, bare};
use orlop_api::kinds;
use orlop_server::ServerConfig;
use serde_json::json;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// OPTIONS is no verb of ours, but a proxy passes it on.
#[tokio::test]
async fn options_reaches_proxies_only() {
    let api = api().await;
    let pod = "/api/v1/namespaces/default/pods/p";
    api.send("OPTIONS", pod, &[], "").await.is(405);
    api.send("OPTIONS", &format!("{pod}/status"), &[], "").await.is(405);
    // Nothing carries connections in this server.
    api.send("OPTIONS", &format!("{pod}/proxy"), &[], "").await.is(404);
}

#[tokio::test]
async fn discovery_in_both_forms_with_etags() {
    let api = api().await;
    let new = api.get_as("/apis", &format!("{AGGREGATED},application/json")).await.is(200);
    assert_eq!(new.header("content-type"), AGGREGATED);
    assert_eq!(new.json()["kind"], "APIGroupDiscoveryList");
    let etag = new.header("etag").to_owned();
    let same = api.send("GET", "/apis", &[("accept", AGGREGATED), ("if-none-match", &etag)], "").await.is(304);
    assert!(same.bytes.is_empty());
    api.get("/apis").await.is(200).has(json!({"kind": "APIGroupList"}));
    api.get("/api").await.is(200).has(json!({"kind": "APIVersions", "versions": ["v1"]}));
    api.get("/apis/apps")
        .await
        .is(200)
        .has(json!({"kind": "APIGroup", "preferredVersion": {"groupVersion": "apps/v1"}}));
    api.get("/apis/apps/v1").await.is(200).has(json!({"kind": "APIResourceList", "groupVersion": "apps/v1"}));
    api.get("/api/v1").await.is(200).has(json!({"groupVersion": "v1"}));
    assert_eq!(api.get("/apis/none").await.is(404).text(), "404 page not found\n");
    api.get("/apis/apps/v9").await.is(404);
    api.get("/version").await.is(200).has(json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0"}));
    let paths = api.get("/").await.is(200).json();
    assert!(paths["paths"].as_array().unwrap().contains(&json!("/apis/apps/v1")));
}

#[tokio::test]
async fn openapi_by_hash() {
    let api = api().await;
    let index = api.get("/openapi/v3").await.is(200).json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = api.get(&url).await.is(200);
    assert_eq!(document.header("cache-control"), "public, immutable");
    assert!(document.json()["paths"].is_object());
    let moved = api.get("/openapi/v3/apis/apps/v1?hash=old").await.is(301);
    assert_eq!(moved.header("location"), url);
    api.get("/openapi/v3/apis/none/v1").await.is(404);
    api.get("/openapi/v2").await.is(200).has(json!({"swagger": "2.0"}));
    let gnostic = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let document = api.get_as("/openapi/v2", gnostic).await.is(200);
    // The first field: `swagger`.
    assert!(document.bytes.starts_with(b"\x0a\x032.0"));
}

#[tokio::test]
async fn health_by_check() {
    let api = api().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/etcd", "/livez/ping"] {
        assert_eq!(api.get(path).await.is(200).text(), "ok");
    }
    let verbose = api.get("/readyz?verbose&exclude=etcd&exclude=nope").await.is(200).text();
    let want = "[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n";
    assert!(verbose.starts_with(want), "{verbose}");
    assert!(verbose.ends_with("no matches for \"nope\"\nreadyz check passed\n"), "{verbose}");
    api.get("/readyz/nope").await.is(404);
}

#[tokio::test]
async fn service_levels_count_checks() {
    let api = api().await;
    api.get("/livez").await.is(200);
    api.get("/livez?exclude=etcd").await.is(200);
    api.get("/livez/ping").await.is(200);
    let text = api.get("/metrics/slis").await.is(200).text();
    for want in [
        "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1\n",
        "kubernetes_healthchecks_total{name=\"ping\",type=\"livez\",status=\"success\"} 2\n",
        "kubernetes_healthchecks_total{name=\"etcd\",type=\"livez\",status=\"success\"} 1\n",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
    assert!(!text.contains("apiserver_"), "{text}");
}

#[tokio::test]
async fn pages_about_the_process() {
    let flags = |config: &mut ServerConfig| drop(config.flags.insert("secure-port".to_owned(), "7443".to_owned()));
    let api = harness::with(Arc::new(AllowAll::default()), flags).await;
    let text = api.get("/statusz").await.is(200).text();
    assert!(text.starts_with("\napiserver statusz\nWarning: This endpoint is not meant"), "{text}");
    assert!(text.contains("\nPaths: /flagz /healthz /livez /metrics /readyz /statusz /version\n"), "{text}");
    let named = "application/json;v=v1beta1;g=config.k8s.io;as=Statusz";
    let want = json!({"kind": "Statusz", "apiVersion": "config.k8s.io/v1beta1", "metadata": {"name": "apiserver"},
        "binaryVersion": "1.37"});
    let told = api.get_as("/statusz", named).await.is(200);
    assert_eq!(told.header("content-type"), "application/json");
    told.has(want);
    let old = api.get_as("/flagz", "application/json;v=v1alpha1;g=config.k8s.io;as=Flagz").await.is(200);
    assert!(old.header("warning").contains("deprecated"), "{}", old.header("warning"));
    old.has(json!({"kind": "Flagz", "flags": {"secure-port": "7443"}}));
    api.get_as("/flagz", "application/json").await.is(406);
    assert!(api.get("/flagz").await.is(200).text().ends_with("\nsecure-port: 7443\n"));
    api.get("/flagz/more").await.is(404);
}

#[tokio::test]
async fn metrics_have_upstreams_names() {
    let api = api().await;
    api.get("/api/v1/namespaces/default").await.is(200);
    let text = api.get("/metrics").await.is(200).text();
    for want in [
        "apiserver_request_total{verb=\"GET\"",
        "apiserver_request_duration_seconds_bucket{",
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"}",
        "apiserver_request_sli_duration_seconds_bucket{",
        "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"",
        "apiserver_flowcontrol_request_execution_seconds_count{flow_schema=\"",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"catch-all\"}",
        "authorization_attempts_total{result=\"allowed\"}",
        "kubernetes_build_info{",
        "process_cpu_seconds_total ",
        "apiserver_resource_objects{group=\"\",resource=\"namespaces\"} 1",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
}

/// Every route of every kind, with the attributes it must ask permission for.
fn routes() -> Vec<(String, String, [String; 4])> {
    let mut routes = Vec::new();
    for kind in kinds::all() {
        let info = kind.info();
        for version in info.versions.iter() {
            let api_version = info.api_version(version);
            let root = if info.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{api_version}") };
            let scope = if info.namespaced { "/namespaces/ns" } else { "" };
            let (all, one) = (format!("{root}{scope}/{}", info.plural), format!("{root}{scope}/{}/name", info.plural));
            let mut add = |verb: &str, path: &str, subresource: &str| {
                let (method, query) = match verb {
                    "create" => ("POST", ""),
                    "get" | "list" => ("GET", ""),
                    "watch" => ("GET", "?watch=true"),
                    "update" => ("PUT", ""),
                    "patch" => ("PATCH", ""),
                    "delete" | "deletecollection" => ("DELETE", ""),
                    other => panic!("{other}"),
                };
                let asked = [verb, &info.group, &info.plural, subresource].map(str::to_owned);
                routes.push((method.to_owned(), format!("{path}{query}"), asked));
            };
            for verb in info.verbs.iter() {
                let collection = matches!(&**verb, "create" | "list" | "watch" | "deletecollection");
                add(verb, if collection { &all } else { &one }, "");
            }
            for sub in info.subresources.iter() {
                sub.verbs.iter().for_each(|verb| add(verb, &format!("{one}/{}", sub.name), &sub.name));
            }
        }
    }
    routes
}

#[tokio::test]
async fn every_route_asks_for_its_permission() {
    let authorizer = Arc::new(AllowAll::default());
    let denied = bare(Arc::new(DenyAll)).await;
    let allowed = bare(authorizer.clone()).await;
    let routes = routes();
    assert!(routes.len() > 500, "{}", routes.len());
    for (method, path, [verb, group, resource, subresource]) in routes {
        let refused = denied.send(&method, &path, &[], "").await.is(403).json();
        assert_eq!(refused["reason"], "Forbidden", "{method} {path}");
        authorizer.asked.lock().unwrap().clear();
        allowed.open(&method, &path, &[], "").await;
        let asked = authorizer.asked.lock().unwrap()[0].clone();
        assert_eq!(
            [asked.verb, asked.api_group, asked.resource, asked.subresource],
            [verb, group, resource, subresource],
            "{method} {path}"
        );
    }
    for path in ["/", "/version", "/healthz", "/metrics", "/apis", "/openapi/v3", "/nothing"] {
        denied.get(path).await.fails(403, &format!("forbidden: User \"tester\" cannot get path \"{path}\""));
    }
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let api = api().await;
    let request = http::Request::get("/api/v1/pods").body(orlop_client::transport::empty()).unwrap();
    let response = api.server.handle(request).await;
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn impersonation_needs_permission_and_changes_the_user() {
    let authorizer = Arc::new(AllowAll::default());
    let allowed = bare(authorizer.clone()).await;
    let headers = [("impersonate-user", "jane"), ("impersonate-group", "devs")];
    allowed.send("GET", "/version", &headers, "").await.is(200);
    let asked: Vec<String> =
        authorizer.asked.lock().unwrap().iter().map(|i| format!("{} {}{}", i.verb, i.resource, i.path)).collect();
    assert_eq!(
        asked,
        [
            "impersonate-on:user-info:get /version",
            "impersonate:user-info users",
            "impersonate:user-info groups",
            "get /version"
        ]
    );
    let denied = bare(Arc::new(DenyAll)).await;
    let refusal = r#"forbidden: User "tester" cannot impersonate-on:user-info:get path "/version""#;
    denied.send("GET", "/version", &headers, "").await.fails(403, refusal);
    allowed.send("GET", "/version", &headers[1..], "").await.is(400);
}
