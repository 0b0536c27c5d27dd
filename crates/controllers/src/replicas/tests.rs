use orlop_client::engine::Failure;
use serde_json::json;

use super::replica_set;
use crate::common::fixture::{body, decide, decide_after, events, objects};

/// Two replicas wanted and there, one ready.
pub const CONVERGED: &str = "
kind: ReplicaSet
metadata: {name: web, generation: 1}
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}}
status: {replicas: 2, fullyLabeledReplicas: 2, readyReplicas: 1, availableReplicas: 1, terminatingReplicas: 0, observedGeneration: 1}
---
kind: Pod
metadata: {name: web-1, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: web, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}
---
kind: Pod
metadata: {name: web-2, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: web, controller: true}]}
status: {phase: Pending}
";

fn change(from: &str, to: &str) -> String {
    assert!(CONVERGED.contains(from), "{from}");
    CONVERGED.replace(from, to)
}

fn lines(yaml: &str) -> Vec<String> {
    decide(&replica_set(), "d/web", yaml).lines()
}

#[test]
fn nothing_to_do_when_all_is_as_wanted() {
    assert_eq!(lines(CONVERGED), [""; 0]);
}

#[test]
fn missing_pods_are_made_from_the_template() {
    let plan = decide(&replica_set(), "d/web", &change("spec: {replicas: 2", "spec: {replicas: 4"));
    assert_eq!(plan.lines(), ["create pods d/web-*"; 2]);
    assert_eq!(events(&plan), ["Normal SuccessfulCreate: Created pod: {name}"; 2]);
    let pod = plan.writes().next().unwrap().body();
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web",
        "controller": true, "blockOwnerDeletion": true,
    });
    let want = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "web-", "namespace": "d", "labels": { "app": "web" }, "ownerReferences": [owner] },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    assert_eq!(pod, want);
}

#[test]
fn at_most_500_pods_are_made_at_once() {
    assert_eq!(lines(&change("spec: {replicas: 2", "spec: {replicas: 2000")).len(), 500);
}

#[test]
fn the_least_useful_pod_goes_first() {
    let plan = decide(&replica_set(), "d/web", &change("spec: {replicas: 2", "spec: {replicas: 1"));
    assert_eq!(plan.lines(), ["delete pods d/web-2"]);
    assert_eq!(body(&plan, "delete pods d/web-2")["preconditions"], json!({ "uid": "web-2" }));
    assert_eq!(events(&plan), ["Normal SuccessfulDelete: Deleted pod: {name}"]);
}

#[test]
fn ranking_follows_upstreams_order() {
    // Of each pair the first goes first; everything else about the two is equal.
    let running = "spec: {nodeName: node}, status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}";
    let with = |metadata: &str, rest: &str| format!("{{metadata: {{{metadata}}}, {rest}}}");
    let ready_at = |at: &str| running.replace("01:00:00", at);
    let restarted = running.replace(
        "phase: Running",
        "phase: Running, containerStatuses: [{name: c, image: i, imageID: i, ready: true, restartCount: 3}]",
    );
    let pairs = [
        (with("", "status: {phase: Running}"), with("", running)),
        (with("", &running.replace("Running", "Pending")), with("", running)),
        (with("", &running.replace("'True'", "'False'")), with("", running)),
        (with("annotations: {controller.kubernetes.io/pod-deletion-cost: '-5'}", running), with("", running)),
        (with("", &ready_at("11:59:50")), with("", running)),
        (with("", &restarted), with("", running)),
        (with("creationTimestamp: '2026-01-01T11:59:00Z'", running), with("", running)),
    ];
    for (first, second) in pairs {
        for swapped in [false, true] {
            let order = if swapped { [&second, &first] } else { [&first, &second] };
            let mut all = objects(CONVERGED);
            all.truncate(1);
            all[0]["spec"]["replicas"] = 1.into();
            for (i, text) in order.into_iter().enumerate() {
                let mut pod = objects(text).remove(0);
                pod["kind"] = "Pod".into();
                for (field, value) in [("name", format!("p{i}")), ("uid", format!("p{i}"))] {
                    pod["metadata"][field] = value.into();
                }
                pod["metadata"]["labels"] = json!({ "app": "web" });
                pod["metadata"]["ownerReferences"] = json!([{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true,
                }]);
                all.push(pod);
            }
            let controller = replica_set();
            let plan = crate::common::fixture::decide_view(&controller, "d/web", &controller.view_of(&all));
            let want = format!("delete pods d/p{}", usize::from(swapped));
            assert_eq!(plan.lines()[0], want, "{first}\nbefore\n{second}");
        }
    }
}

#[test]
fn orphans_are_adopted_and_strangers_released() {
    let orphan = "
---
kind: Pod
metadata: {name: stray, labels: {app: web}}
status: {phase: Running}
";
    let yaml =
        change("metadata: {name: web-2, labels: {app: web}", "metadata: {name: web-2, labels: {app: other}") + orphan;
    let plan = decide(&replica_set(), "d/web", &yaml);
    assert_eq!(plan.lines(), ["patch pods d/web-2", "patch pods d/stray"]);
    assert_eq!(
        body(&plan, "patch pods d/web-2"),
        json!({ "metadata": { "uid": "web-2", "ownerReferences": [{ "$patch": "delete", "uid": "web" }] } })
    );
    assert_eq!(body(&plan, "patch pods d/stray")["metadata"]["ownerReferences"][0]["name"], "web");
    let guards: Vec<_> = plan.writes().map(|w| w.alive.is_some()).collect();
    assert_eq!(guards, [false, true]);
}

#[test]
fn a_failure_is_told_and_taken_back() {
    let few = change("spec: {replicas: 2", "spec: {replicas: 3");
    let failure = Failure {
        verb: "create",
        resource: "pods".into(),
        name: String::new(),
        reason: "Forbidden".into(),
        message: "pods is forbidden: exceeded quota".into(),
    };
    let plan = decide_after(&replica_set(), "d/web", &few, failure.clone());
    assert_eq!(plan.lines(), ["update replicasets/status d/web"]);
    let condition = json!({
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods is forbidden: exceeded quota", "lastTransitionTime": "2026-01-01T12:00:00Z",
    });
    assert_eq!(body(&plan, "update replicasets/status d/web")["status"]["conditions"], json!([condition]));
    let told = few.replace(
        "observedGeneration: 1}",
        "observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: old}]}",
    );
    assert_eq!(decide_after(&replica_set(), "d/web", &told, failure).lines(), [""; 0]);
    let plan = decide(&replica_set(), "d/web", &told);
    assert_eq!(plan.lines(), ["create pods d/web-*", "update replicasets/status d/web"]);
    assert_eq!(body(&plan, "update replicasets/status d/web")["status"]["conditions"], json!(null));
}

#[test]
fn availability_is_waited_for() {
    let yaml = change("spec: {replicas: 2", "spec: {minReadySeconds: 60, replicas: 2")
        .replace("2026-01-01T01:00:00Z", "2026-01-01T11:59:20Z");
    let plan = decide(&replica_set(), "d/web", &yaml);
    assert_eq!(plan.lines(), ["update replicasets/status d/web", "wake 2026-01-01T12:00:20Z"]);
}

#[test]
fn a_set_that_goes_away_only_counts() {
    let yaml = change(
        "metadata: {name: web, generation: 1}",
        "metadata: {name: web, generation: 1, deletionTimestamp: '2026-01-01T11:00:00Z'}",
    )
    .replace("spec: {replicas: 2", "spec: {replicas: 9");
    assert_eq!(lines(&yaml), [""; 0]);
}

#[test]
fn terminating_pods_are_counted_apart() {
    let yaml = change("metadata: {name: web-2,", "metadata: {name: web-2, deletionTimestamp: '2026-01-01T11:00:00Z',");
    let plan = decide(&replica_set(), "d/web", &yaml);
    assert_eq!(plan.lines(), ["create pods d/web-*", "update replicasets/status d/web"]);
    let status = &body(&plan, "update replicasets/status d/web")["status"];
    assert_eq!((&status["replicas"], &status["terminatingReplicas"]), (&json!(1), &json!(1)));
}
