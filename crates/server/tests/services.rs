//! What Services draw from the pools, and what admission makes of pods.

#![allow(clippy::unwrap_used, reason = "clippy takes only #[test] functions for tests")]

mod harness;

use std::sync::Arc;

use harness::{AllowAll, Api, api};
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// A server with this range, and the namespace `default`.
async fn ranged(cidr: &str) -> Api {
    let range = cidr.parse().unwrap();
    let api = harness::with(Arc::new(AllowAll::default()), |config| config.services.cidrs = vec![range]).await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.is(201);
    api
}

async fn ip(api: &Api, name: &str) -> String {
    api.get(&format!("{SERVICES}/{name}")).await.json()["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn cluster_ips_are_given_kept_and_given_back() {
    let api = api().await;
    api.post(SERVICES, service("a", json!({}))).await.is(201).has(json!({
        "spec": {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "type": "ClusterIP", "sessionAffinity": "None"},
    }));
    let address = ip(&api, "a").await;
    assert!(address.starts_with("10."), "{address}");
    let pinned = service("b", json!({"clusterIP": "10.96.0.10"}));
    api.post(SERVICES, pinned).await.is(201).has(json!({"spec": {"clusterIPs": ["10.96.0.10"]}}));
    api.post(SERVICES, service("c", json!({"clusterIP": "10.96.0.10"}))).await.fails(
        422,
        "Service \"c\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: \
         provided IP is already allocated",
    );
    api.post(&format!("{SERVICES}?dryRun=All"), service("d", json!({"clusterIP": "10.96.0.11"}))).await.is(201);
    api.post(SERVICES, service("d", json!({"clusterIP": "10.96.0.11"}))).await.is(201);
    let ports = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "c", "port": 3, "nodePort": 80}]);
    let tried = service("n", json!({"type": "NodePort", "ports": ports}));
    let tried = api.post(&format!("{SERVICES}?dryRun=All"), tried).await.is(201).json();
    let shown: Vec<&Value> = tried["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["nodePort"]).collect();
    assert_eq!(shown, [32769, 32770, 80], "a dry run asks no allocator");
    assert_eq!(tried["status"], json!({"loadBalancer": {}}));
    api.delete(&format!("{SERVICES}/b")).await.is(200).has(json!({"kind": "Service"}));
    api.post(SERVICES, service("c", json!({"clusterIP": "10.96.0.10"}))).await.is(201);
    let mut replaced = service("a", json!({}));
    replaced["metadata"]["labels"] = json!({"x": "y"});
    api.put(&format!("{SERVICES}/a"), replaced).await.is(200);
    assert_eq!(ip(&api, "a").await, address, "left out means kept");
    let headless = service("h", json!({"clusterIP": "None"}));
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": -1});
    let detail =
        "Service \"l\" is invalid: spec.healthCheckNodePort: Invalid value: -1: must be between 1 and 65535, inclusive";
    api.post(&format!("{SERVICES}?dryRun=All"), service("l", local)).await.fails(422, detail);
    api.post(SERVICES, headless).await.is(201).has(json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}));
    let external = json!({"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "example.com"}});
    api.post(SERVICES, external).await.is(201).has(json!({"spec": {"clusterIP": null}}));
}

#[tokio::test]
async fn node_ports_too() {
    let api = api().await;
    let ports = json!({"type": "NodePort", "ports": [
        {"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]});
    let made = api.post(SERVICES, service("a", ports)).await.is(201).json();
    let (t, u) = (&made["spec"]["ports"][0]["nodePort"], &made["spec"]["ports"][1]["nodePort"]);
    assert!(t == u && (30000..=32767).contains(&t.as_u64().unwrap()), "{t} {u}");
    let pinned =
        |name: &str, port: u16| service(name, json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    api.post(SERVICES, pinned("b", 30080)).await.is(201);
    api.post(SERVICES, pinned("c", 30080)).await.fails(
        422,
        "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
    );
    api.post(SERVICES, pinned("c", 80)).await.fails(
        422,
        "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The \
         range of valid ports is 30000-32767",
    );
    let dry = format!("{SERVICES}?dryRun=All");
    let taken =
        "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated";
    api.post(&dry, pinned("c", 30080)).await.fails(422, taken);
    let odd = service("c", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": -1}]}));
    api.post(&dry, odd).await.is(201).has(json!({"spec": {"ports": [{"nodePort": -1}]}}));
    let twice = json!({"type": "NodePort", "ports": [
        {"name": "a", "port": 1, "nodePort": 30222}, {"name": "b", "port": 2, "nodePort": 30222}]});
    api.put(&format!("{SERVICES}/b?dryRun=All"), service("b", twice))
        .await
        .fails(500, "duplicate nodePort: {TCP 30222}");
    let down = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": null}]}});
    api.patch(&format!("{SERVICES}/b"), "merge", down).await.is(200);
    api.post(SERVICES, pinned("c", 30080)).await.is(201);
}

#[tokio::test]
async fn a_restart_knows_what_is_taken() {
    let api = api().await;
    api.post(SERVICES, service("a", json!({"clusterIP": "10.96.0.10"}))).await.is(201);
    let again = harness::over(api.server.store().clone());
    again.post(SERVICES, service("b", json!({"clusterIP": "10.96.0.10"}))).await.is(422);
}

#[tokio::test]
async fn bootstrap_objects_come_back() {
    let api = harness::with(std::sync::Arc::new(harness::AllowAll::default()), |config| {
        config.advertise_address = "192.0.2.7".parse().unwrap();
    })
    .await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut events = api.watch("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?watch=true").await;
    let task = tokio::spawn(api.server.clone().maintain(stop.clone()));
    assert_eq!(events.brief().await, "ADDED kubernetes");
    api.get(&format!("{SERVICES}/kubernetes")).await.is(200).has(json!({"spec": {
        "clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}}));
    for path in ["namespaces/kube-system", "namespaces/kube-node-lease", "namespaces/default", "namespaces/kube-public"]
    {
        api.get(&format!("/api/v1/{path}")).await.is(200);
    }
    api.get("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical").await.is(200);
    api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await.is(200).has(
        json!({"spec": {"cidrs": ["10.96.0.0/12"]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    while api.get("/readyz").await.code != 200 {
        tokio::task::yield_now().await;
    }
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    api.delete(path).await.is(200);
    assert_eq!([events.brief().await, events.brief().await], ["DELETED kubernetes", "ADDED kubernetes"]);
    api.patch(path, "merge", json!({"endpoints": []})).await.is(200);
    assert_eq!([events.brief().await, events.brief().await], ["MODIFIED kubernetes", "MODIFIED kubernetes"]);
    api.get(path).await.has(json!({"endpoints": [{"addresses": ["192.0.2.7"]}]}));
    api.delete("/api/v1/namespaces/default")
        .await
        .fails(403, "namespaces \"default\" is forbidden: this namespace may not be deleted");
    stop.cancel();
    task.await.unwrap();
}

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn pods_are_completed() {
    let api = api().await;
    let made = api.post(PODS, pod("p")).await.is(201).json();
    let spec = &made["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert!(spec["volumes"][0]["name"].as_str().unwrap().starts_with("kube-api-access-"));
    assert_eq!(spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
}

#[tokio::test(start_paused = true)]
async fn pods_are_refused_in_upstreams_words() {
    let api = api().await;
    let mut other = pod("p");
    other["spec"]["serviceAccountName"] = "none".into();
    api.post(PODS, other).await.fails(
        403,
        "pods \"p\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found",
    );
    let mut classy = pod("p");
    classy["spec"]["priorityClassName"] = "none".into();
    api.post(PODS, classy).await.fails(403, "pods \"p\" is forbidden: no PriorityClass with name none was found");
    api.post("/api/v1/namespaces/nowhere/configmaps", json!({"metadata": {"name": "x"}}))
        .await
        .fails(404, "namespaces \"nowhere\" not found");
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.is(201);
    let early = api.post("/api/v1/namespaces/n/pods", pod("p")).await.is(403).json();
    assert!(early["message"].as_str().unwrap().contains("service account n/default"), "{early}");
    api.delete("/api/v1/namespaces/n").await.is(200);
    let ending = api.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "x"}})).await;
    let ending = ending.fails(
        403,
        "configmaps \"x\" is forbidden: unable to create new content in namespace n because it is being terminated",
    );
    assert_eq!(ending.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
}

#[tokio::test]
async fn a_default_account_that_is_about_to_come_is_waited_for() {
    let api = api().await;
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.is(201);
    let account = json!({"metadata": {"name": "default"}});
    let (pod, _) = tokio::join!(
        api.post("/api/v1/namespaces/n/pods", pod("p")),
        api.post("/api/v1/namespaces/n/serviceaccounts", account)
    );
    pod.is(201);
}

#[tokio::test]
async fn nodes_and_claims() {
    let api = api().await;
    let node = api.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.is(201);
    node.has(json!({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}}));
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
                       "resources": {"requests": {"storage": "1Gi"}}}});
    let made = api.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await.is(201);
    made.has(json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}}));
}

/// Who makes an IPAddress keeps Services from it (KEP 1880).
#[tokio::test]
async fn addresses_that_somebody_reserved_are_not_given() {
    let api = ranged("10.96.0.0/30").await;
    let parent = json!({"parentRef": {"group": "example.com", "resource": "balancers", "name": "b"}});
    let reserved = json!({"metadata": {"name": "10.96.0.1"}, "spec": parent});
    api.post("/apis/networking.k8s.io/v1/ipaddresses", reserved).await.is(201);
    api.post(SERVICES, service("pinned", json!({"clusterIP": "10.96.0.1"}))).await.fails(
        422,
        "Service \"pinned\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.1\"]: failed to allocate IP 10.96.0.1: \
         provided IP is already allocated",
    );
    api.post(SERVICES, service("a", json!({}))).await.is(201).has(json!({"spec": {"clusterIP": "10.96.0.2"}}));
    let full = "Internal error occurred: failed to allocate a serviceIP for Service \"b\": range is full";
    api.post(SERVICES, service("b", json!({}))).await.fails(500, full);
    api.delete("/apis/networking.k8s.io/v1/ipaddresses/10.96.0.1").await.is(200);
    api.post(SERVICES, service("b", json!({}))).await.is(201).has(json!({"spec": {"clusterIP": "10.96.0.1"}}));
}

/// KEP 1880.
#[tokio::test]
async fn more_ranges_make_more_addresses() {
    let api = ranged("10.96.0.0/30").await;
    let full = |name: &str| {
        format!("Internal error occurred: failed to allocate a serviceIP for Service {name:?}: range is full")
    };
    let pinned = |name: &str, ip: &str| service(name, json!({"clusterIP": ip}));
    for name in ["a", "b"] {
        api.post(SERVICES, service(name, json!({}))).await.is(201);
    }
    api.post(SERVICES, service("c", json!({}))).await.fails(500, &full("c"));
    let elsewhere = |ip: &str| {
        format!(
            "Service \"c\" is invalid: spec.clusterIPs: Invalid value: [{ip:?}]: failed to allocate IP {ip}: the provided \
             network does not match the current range"
        )
    };
    api.post(SERVICES, pinned("c", "10.97.0.2")).await.fails(422, &elsewhere("10.97.0.2"));
    let more =
        json!({"metadata": {"name": "more", "finalizers": ["example.com/stay"]}, "spec": {"cidrs": ["10.97.0.0/30"]}});
    api.post(RANGES, more).await.is(201);
    api.post(SERVICES, service("c", json!({}))).await.is(201);
    assert!(ip(&api, "c").await.starts_with("10.97.0."));
    api.delete(&format!("{SERVICES}/c")).await.is(200);
    api.post(SERVICES, pinned("c", "10.97.0.3")).await.fails(422, &elsewhere("10.97.0.3"));
    api.post(SERVICES, pinned("c", "10.97.0.2")).await.is(201);
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "m",
                         "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    api.patch(&format!("{RANGES}/more/status"), "merge", unready).await.is(200);
    api.post(SERVICES, service("d", json!({}))).await.fails(500, &full("d"));
    api.patch(&format!("{RANGES}/more/status"), "merge", json!({"status": {"conditions": null}})).await.is(200);
    api.post(SERVICES, service("d", json!({}))).await.is(201).has(json!({"spec": {"clusterIP": "10.97.0.1"}}));
    api.delete(&format!("{SERVICES}/d")).await.is(200);
    api.delete(&format!("{RANGES}/more")).await.is(200);
    api.post(SERVICES, service("d", json!({}))).await.fails(500, &full("d"));
    api.delete(&format!("{SERVICES}/a")).await.is(200);
    api.post(SERVICES, service("d", json!({}))).await.is(201);
    assert!(ip(&api, "d").await.starts_with("10.96.0."));
}

/// A dry run asks whether the address is in a range, not who has it.
#[tokio::test]
async fn a_dry_run_draws_nothing() {
    let api = ranged("10.96.0.0/30").await;
    let dry = format!("{SERVICES}?dryRun=All");
    for name in ["a", "b", "c"] {
        api.post(&dry, service(name, json!({}))).await.is(201).has(json!({"spec": {"clusterIP": "10.96.0.0"}}));
    }
    api.post(&dry, service("a", json!({"clusterIP": "10.96.1.1"}))).await.fails(
        422,
        "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.1.1\"]: failed to allocate IP 10.96.1.1: the \
         provided IP (10.96.1.1) is not in the valid range. The range of valid IPs is 10.96.0.0/30",
    );
    let unready = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/30"]}});
    api.post(RANGES, unready).await.is(201);
    let condition = json!({"type": "Ready", "status": "False", "reason": "R", "message": "m",
                           "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let unready = json!({"status": {"conditions": [condition]}});
    api.patch(&format!("{RANGES}/kubernetes/status"), "merge", unready).await.is(200);
    api.post(&dry, service("a", json!({}))).await.fails(
        422,
        "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"\"]: failed to allocate IP: allocator not ready",
    );
}

const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

/// About what an event is, and its reason.
async fn told(events: &mut harness::Events) -> (String, String, String) {
    let event = events.next().await.expect("an event")["object"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(event["type"], "Warning");
    (text(&event["involvedObject"]["name"]), text(&event["reason"]), text(&event["message"]))
}

#[tokio::test]
async fn addresses_follow_services_and_are_repaired() {
    let api = api().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(api.server.clone().maintain(stop.clone()));
    let mut events = api.watch("/api/v1/namespaces/default/events?watch=true").await;
    let mut address = api.watch(&format!("{ADDRESSES}?watch=true&fieldSelector=metadata.name=10.96.0.10")).await;
    api.post(SERVICES, service("a", json!({"clusterIP": "10.96.0.10"}))).await.is(201);
    assert_eq!(address.brief().await, "ADDED 10.96.0.10");
    api.delete(&format!("{ADDRESSES}/10.96.0.10")).await.is(200);
    assert_eq!([address.brief().await, address.brief().await], ["DELETED 10.96.0.10", "ADDED 10.96.0.10"]);
    let missing = "Cluster IP [IPv4]: 10.96.0.10 is not allocated; repairing";
    assert_eq!(told(&mut events).await, ("a".into(), "ClusterIPNotAllocated".into(), missing.into()));
    let label = json!({"metadata": {"labels": {"ipaddress.kubernetes.io/ip-family": "IPv6"}}});
    api.patch(&format!("{ADDRESSES}/10.96.0.10"), "merge", label).await.is(200);
    let seen = [address.brief().await, address.brief().await, address.brief().await];
    assert_eq!(seen, ["MODIFIED 10.96.0.10", "DELETED 10.96.0.10", "ADDED 10.96.0.10"]);
    api.get(&format!("{ADDRESSES}/10.96.0.10")).await.has(json!({
        "metadata": {"labels": {"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "a"}},
    }));
    let parent = json!({"parentRef": {"group": "example.com", "resource": "balancers", "name": "b"}});
    let labels = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
    api.post(ADDRESSES, json!({"metadata": {"name": "10.96.0.77", "labels": labels}, "spec": parent})).await.is(201);
    let (about, reason, _) = told(&mut events).await;
    assert_eq!((&*about, &*reason), ("10.96.0.77", "IPAddressNotAllocated"));
    api.delete(&format!("{SERVICES}/a")).await.is(200);
    assert_eq!(address.brief().await, "DELETED 10.96.0.10");
    api.get(&format!("{ADDRESSES}/10.96.0.77")).await.is(404);
    stop.cancel();
    task.await.unwrap();
}

/// `pkg/controlplane/controller/defaultservicecidr`.
#[tokio::test]
async fn the_default_range_grows_by_a_family_and_is_else_left_alone() {
    let api = ranged("10.96.0.0/24").await;
    let kubernetes = format!("{RANGES}/kubernetes");
    api.server.bootstrap().await.unwrap();
    let ready = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "message": "Kubernetes default Service CIDR is ready"}]}});
    api.get(&kubernetes).await.has(ready.clone()).has(json!({"spec": {"cidrs": ["10.96.0.0/24"]}}));
    let with = |cidrs: &'static [&'static str]| {
        let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        harness::over_with(api.server.store().clone(), |config| config.services.cidrs = cidrs)
    };
    let dual = with(&["10.96.0.0/24", "fd00::/112"]);
    dual.server.bootstrap().await.unwrap();
    dual.get(&kubernetes).await.has(ready).has(json!({"spec": {"cidrs": ["10.96.0.0/24", "fd00::/112"]}}));
    let both = service("both", json!({"ipFamilyPolicy": "RequireDualStack"}));
    let both = dual.post(SERVICES, both).await.is(201).json();
    assert!(both["spec"]["clusterIPs"][1].as_str().unwrap().starts_with("fd00::"), "{both}");
    let mut events = api.watch("/api/v1/namespaces/default/events?watch=true").await;
    let other = with(&["10.97.0.0/24"]);
    for _ in 0..2 {
        other.server.bootstrap().await.unwrap();
    }
    let message = "The default ServiceCIDR [10.96.0.0/24 fd00::/112] does not match the controller flag configurations \
                   [10.97.0.0/24]";
    let reason = "KubernetesDefaultServiceCIDRInconsistent";
    assert_eq!(told(&mut events).await, ("kubernetes".into(), reason.into(), message.into()));
    api.delete(&kubernetes).await.is(200);
    other.server.bootstrap().await.unwrap();
    other.get(&kubernetes).await.has(json!({"spec": {"cidrs": ["10.97.0.0/24"]}}));
}

#[tokio::test]
async fn a_default_range_that_may_not_grow_yet_is_told_once_and_grows_later() {
    let api = ranged("10.96.0.0/24").await;
    api.server.bootstrap().await.unwrap();
    let rule = json!({"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["UPDATE"],
        "resources": ["servicecidrs"]});
    let spec = json!({"matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "not now"}]});
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    api.post(policies, json!({"metadata": {"name": "p"}, "spec": spec})).await.is(201);
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let spec = json!({"policyName": "p", "validationActions": ["Deny"]});
    api.post(bindings, json!({"metadata": {"name": "p"}, "spec": spec})).await.is(201);
    let with = |cidrs: &'static [&'static str]| {
        let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        harness::over_with(api.server.store().clone(), |config| config.services.cidrs = cidrs)
    };
    let mut events = api.watch("/api/v1/namespaces/default/events?watch=true").await;
    let dual = with(&["10.96.0.0/24", "fd00::/112"]);
    for _ in 0..2 {
        dual.server.bootstrap().await.unwrap();
    }
    let (_, reason, message) = told(&mut events).await;
    let want =
        "The default ServiceCIDR can not be upgraded from 10.96.0.0/24 to dual stack [10.96.0.0/24 fd00::/112] : ";
    assert!(reason == "KubernetesDefaultServiceCIDRError" && message.starts_with(want), "{reason} {message}");
    assert!(message.ends_with("denied request: not now"), "{message}");
    api.delete(&format!("{bindings}/p")).await.is(200);
    dual.server.bootstrap().await.unwrap();
    api.get(&format!("{RANGES}/kubernetes")).await.has(json!({"spec": {"cidrs": ["10.96.0.0/24", "fd00::/112"]}}));
    with(&["10.97.0.0/24"]).server.bootstrap().await.unwrap();
    assert_eq!(told(&mut events).await.1, "KubernetesDefaultServiceCIDRInconsistent");
}

#[tokio::test]
async fn metrics_tell_how_full_the_ranges_are() {
    let api = ranged("10.99.0.0/29").await;
    api.post(SERVICES, service("a", json!({}))).await.is(201);
    api.post(SERVICES, service("b", json!({"clusterIP": ip(&api, "a").await}))).await.is(422);
    let metrics = api.get("/metrics").await.is(200).text();
    for line in [
        "allocated_ips{cidr=\"10.99.0.0/29\"} 1",
        "available_ips{cidr=\"10.99.0.0/29\"} 5",
        "allocation_total{cidr=\"10.99.0.0/29\",scope=\"dynamic\"} 1",
        "allocation_errors_total{cidr=\"10.99.0.0/29\",scope=\"static\"} 1",
        "allocation_duration_seconds_count{cidr=\"10.99.0.0/29\"} 1",
    ] {
        assert!(metrics.contains(&format!("kube_apiserver_clusterip_allocator_{line}\n")), "{line}\n{metrics}");
    }
}
