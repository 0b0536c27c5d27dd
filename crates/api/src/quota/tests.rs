use serde_json::{Value, json};

use super::{Evaluator, recount};

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;

fn usage(group: &str, resource: &str, object: &Value) -> String {
    Evaluator::of(group, resource).unwrap().usage(object, NOW).to_string()
}

fn pod(resources: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
}

#[test]
fn charges() {
    let small = pod(json!({"requests": {"cpu": "1", "x.io/gpu": "2"}, "limits": {"cpu": "2"}}));
    assert_eq!(usage("", "pods", &small), "count/pods=1,cpu=1,limits.cpu=2,pods=1,requests.cpu=1,requests.x.io/gpu=2");
    let mut done = small.clone();
    done["status"] = json!({"phase": "Succeeded"});
    assert_eq!(usage("", "pods", &done), "count/pods=1");
    let mut lost = small;
    lost["metadata"] = json!({"deletionTimestamp": "2025-12-31T23:59:00Z", "deletionGracePeriodSeconds": 30});
    assert_eq!(usage("", "pods", &lost), "count/pods=1");
    let service = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                         "ports": [{"port": 1}, {"port": 2, "nodePort": 30000}]}});
    assert_eq!(
        usage("", "services", &service),
        "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1"
    );
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}}});
    assert_eq!(
        usage("", "persistentvolumeclaims", &claim),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=2,persistentvolumeclaims=1,requests.storage=2"
    );
    assert_eq!(usage("", "secrets", &json!({})), "count/secrets=1,secrets=1");
    assert_eq!(usage("apps", "replicasets", &json!({})), "count/replicasets.apps=1");
    assert_eq!(Evaluator::of("", "events"), None);
}

#[test]
fn names_lead_to_whom_they_are_about() {
    for (name, group, resource) in [
        ("cpu", "", "pods"),
        ("requests.example.com/dongle", "", "pods"),
        ("hugepages-2Mi", "", "pods"),
        ("services.nodeports", "", "services"),
        ("gold.storageclass.storage.k8s.io/requests.storage", "", "persistentvolumeclaims"),
        ("secrets", "", "secrets"),
        ("count/jobs.batch", "batch", "jobs"),
        ("count/widgets.example.com", "example.com", "widgets"),
    ] {
        assert_eq!(Evaluator::by_name(name).unwrap().resource(), (group, resource), "{name}");
    }
    assert_eq!(Evaluator::by_name("unheard-of"), None);
}

#[test]
fn scopes() {
    let quota = |spec: Value| json!({"spec": spec, "status": {"hard": {"pods": "1"}}});
    let matches = |spec: Value, pod: &Value| Evaluator::Pods.matches(&quota(spec), pod);
    let idle = pod(json!({}));
    assert!(matches(json!({}), &idle));
    assert!(matches(json!({"scopes": ["BestEffort", "NotTerminating"]}), &idle));
    assert!(!matches(json!({"scopes": ["BestEffort", "Terminating"]}), &idle));
    let class = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    let mut high = idle.clone();
    high["spec"]["priorityClassName"] = "high".into();
    assert!(matches(class("In", json!(["high"])), &high) && !matches(class("In", json!(["high"])), &idle));
    assert!(matches(class("NotIn", json!(["high"])), &idle) && matches(class("DoesNotExist", json!([])), &idle));
    assert!(
        !Evaluator::Services
            .matches(&json!({"spec": {"scopes": ["BestEffort"]}, "status": {"hard": {"services": "1"}}}), &json!({}))
    );
}

#[test]
fn containers_must_say_what_is_limited() {
    let quota = json!({"status": {"hard": {"cpu": "1", "limits.memory": "1", "pods": "1"}}});
    let refused = Evaluator::Pods.check(&quota, &pod(json!({"requests": {"memory": "1"}}))).unwrap_err();
    assert_eq!(refused, "must specify cpu for: c; limits.memory for: c");
    assert_eq!(
        Evaluator::Pods.check(&quota, &pod(json!({"requests": {"cpu": "1"}, "limits": {"memory": "1"}}))),
        Ok(())
    );
}

#[test]
fn a_recount_covers_all_that_is_named() {
    let quota = json!({"spec": {"hard": {"cpu": "10", "pods": "5", "secrets": "3", "services": "1"}}});
    let pods = [pod(json!({"requests": {"cpu": "500m"}})), pod(json!({"requests": {"cpu": "1"}}))];
    let secrets = [json!({})];
    let used = recount(
        &quota,
        |evaluator| match evaluator.resource() {
            ("", "pods") => pods.iter().collect::<Vec<_>>(),
            ("", "secrets") => secrets.iter().collect(),
            _ => Vec::new(),
        },
        NOW,
    );
    assert_eq!(used.to_string(), "cpu=1500m,pods=2,secrets=1,services=0");
}
