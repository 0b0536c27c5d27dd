use orlop_client::engine::{Failure, Plan, Write};
use serde_json::{Value, json};

use super::{controller, template};
use crate::common::fixture::{at, body, decide, decide_after, decide_view, events, objects};

/// Three wanted, all of the newest template and available; one old set kept for history.
pub const CONVERGED: &str = "
kind: Deployment
metadata: {name: web, generation: 4, annotations: {deployment.kubernetes.io/revision: '2', note: x}}
spec:
  replicas: 3
  revisionHistoryLimit: 10
  progressDeadlineSeconds: 600
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: 'v2'}]}}
status:
  observedGeneration: 4
  replicas: 3
  updatedReplicas: 3
  readyReplicas: 3
  availableReplicas: 3
  terminatingReplicas: 0
  conditions:
  - {type: Available, status: 'True', reason: MinimumReplicasAvailable, message: Deployment has minimum availability., lastUpdateTime: '2026-01-01T01:00:00Z', lastTransitionTime: '2026-01-01T01:00:00Z'}
  - {type: Progressing, status: 'True', reason: NewReplicaSetAvailable, message: 'ReplicaSet \"web-2\" has successfully progressed.', lastUpdateTime: '2026-01-01T01:00:00Z', lastTransitionTime: '2026-01-01T01:00:00Z'}
---
kind: ReplicaSet
metadata:
  name: web-2
  generation: 1
  creationTimestamp: '2026-01-01T02:00:00Z'
  labels: {app: web, pod-template-hash: '2'}
  annotations: {deployment.kubernetes.io/revision: '2', deployment.kubernetes.io/desired-replicas: '3', deployment.kubernetes.io/max-replicas: '4', note: x}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: web, controller: true}]
spec:
  replicas: 3
  selector: {matchLabels: {app: web, pod-template-hash: '2'}}
  template: {metadata: {labels: {app: web, pod-template-hash: '2'}}, spec: {containers: [{name: c, image: 'v2'}]}}
status: {observedGeneration: 1, replicas: 3, fullyLabeledReplicas: 3, readyReplicas: 3, availableReplicas: 3, terminatingReplicas: 0}
---
kind: ReplicaSet
metadata:
  name: web-1
  generation: 1
  labels: {app: web, pod-template-hash: '1'}
  annotations: {deployment.kubernetes.io/revision: '1', deployment.kubernetes.io/desired-replicas: '3', deployment.kubernetes.io/max-replicas: '4', note: old}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: web, controller: true}]
spec:
  replicas: 0
  selector: {matchLabels: {app: web, pod-template-hash: '1'}}
  template: {metadata: {labels: {app: web, pod-template-hash: '1'}}, spec: {containers: [{name: c, image: 'v1'}]}}
status: {observedGeneration: 1, replicas: 0, terminatingReplicas: 0}
";

const STATUS: &str = "update deployments/status d/web";

/// The converged objects, changed by hand.
fn world(change: impl FnOnce(&mut Value, &mut Vec<Value>)) -> Vec<Value> {
    let mut all = objects(CONVERGED);
    let mut deployment = all.remove(0);
    change(&mut deployment, &mut all);
    all.insert(0, deployment);
    all
}

fn plan(all: &[Value]) -> Plan {
    let controller = controller();
    decide_view(&controller, "d/web", &controller.view_of(all))
}

fn progressing(plan: &Plan) -> Value {
    let status = body(plan, STATUS)["status"]["conditions"].clone();
    let all = status.as_array().cloned().unwrap_or_default();
    all.into_iter().find(|c| c["type"] == "Progressing").unwrap_or_default()
}

#[test]
fn nothing_to_do_when_all_is_as_wanted() {
    assert_eq!(plan(&objects(CONVERGED)).lines(), [""; 0]);
}

#[test]
fn a_first_set_is_made_at_full_size() {
    let all = world(|d, sets| {
        sets.clear();
        d["status"] = json!({});
        d["metadata"]["annotations"] = json!({ "note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}" });
    });
    let plan = plan(&all);
    let hash = template::hash(&serde_json::from_value(all[0]["spec"]["template"].clone()).unwrap(), None);
    let create = format!("create replicasets d/web-{hash}");
    assert_eq!(plan.lines(), [create.as_str(), STATUS, "wake 2026-01-01T12:10:01Z"]);
    assert_eq!(events(&plan), [format!("Normal ScalingReplicaSet: Scaled up replica set web-{hash} from 0 to 3")]);
    let set = body(&plan, &create);
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["spec"]["selector"]["matchLabels"], json!({ "app": "web", "pod-template-hash": hash }));
    assert_eq!(set["spec"]["template"]["metadata"]["labels"], set["metadata"]["labels"]);
    let annotations = json!({
        "note": "x", "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4",
    });
    assert_eq!(set["metadata"]["annotations"], annotations);
    assert_eq!(body(&plan, STATUS)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let progressing = progressing(&plan);
    assert_eq!(progressing["reason"], "NewReplicaSetCreated");
    assert_eq!(progressing["message"], format!("Created new replica set \"web-{hash}\""));
}

#[test]
fn a_set_that_cannot_be_made_is_told() {
    let all = world(|_, sets| sets.clear());
    let failure = Failure {
        verb: "create",
        resource: "replicasets".into(),
        name: "web-x".into(),
        reason: "Forbidden".into(),
        message: "no".into(),
    };
    let controller = controller();
    let view = controller.view_of(&all).with_failure(Some(failure));
    let plan = decide_view(&controller, "d/web", &view);
    let progressing = progressing(&plan);
    assert_eq!((&progressing["status"], &progressing["reason"]), (&json!("False"), &json!("ReplicaSetCreateError")));
    assert_eq!(progressing["message"], "Failed to create new replica set \"web-x\": no");
}

#[test]
fn a_name_that_is_taken_bumps_the_collision_count() {
    let all = world(|d, sets| {
        sets.clear();
        d["status"]["collisionCount"] = 2.into();
        let hash = template::hash(&serde_json::from_value(d["spec"]["template"].clone()).unwrap(), Some(2));
        let name = format!("web-{hash}");
        sets.push(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": name, "namespace": "d", "uid": "z" },
            "spec": { "selector": { "matchLabels": { "a": "b" } } },
        }));
    });
    let plan = plan(&all);
    assert_eq!(plan.lines()[0], STATUS);
    assert_eq!(body(&plan, STATUS)["status"]["collisionCount"], 3);
}

#[test]
fn scaling_keeps_the_rollout() {
    let plan = plan(&world(|d, _| {
        d["spec"]["replicas"] = 5.into();
        d["metadata"]["generation"] = 5.into();
    }));
    assert_eq!(plan.lines()[..2], ["update replicasets d/web-2", STATUS]);
    assert_eq!(events(&plan), ["Normal ScalingReplicaSet: Scaled up replica set web-2 from 3 to 5"]);
    let annotations = &body(&plan, "update replicasets d/web-2")["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "7");
}

#[test]
fn a_rollout_goes_on_after_scaling_to_the_size_that_its_only_set_has_by_chance() {
    let all = world(|d, sets| {
        d["spec"]["template"]["spec"]["containers"][0]["image"] = "v3".into();
        sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] = "4".into();
    });
    assert!(plan(&all).lines()[0].starts_with("create replicasets d/web-"));
}

#[test]
fn several_sets_scale_in_proportion() {
    // (wanted before, wanted now, sizes before, sizes after), surge 2; newest set first.
    for (before, now, sizes, after) in [
        (10, 20, [8, 4], [15, 7]),
        (10, 5, [5, 7], [3, 4]),
        (10, 0, [5, 7], [0, 0]),
        (10, 30, [1, 11], [3, 29]),
        (10, 12, [6, 6], [7, 7]),
    ] {
        let all = world(|d, sets| {
            d["spec"]["replicas"] = now.into();
            d["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = 2.into();
            for (set, size) in sets.iter_mut().zip(sizes) {
                set["spec"]["replicas"] = size.into();
                set["status"]["availableReplicas"] = size.into();
                let annotations = &mut set["metadata"]["annotations"];
                annotations["deployment.kubernetes.io/desired-replicas"] = before.to_string().into();
                annotations["deployment.kubernetes.io/max-replicas"] = (before + 2).to_string().into();
            }
        });
        let plan = plan(&all);
        let size = |name: &str| body(&plan, &format!("update replicasets d/{name}"))["spec"]["replicas"].clone();
        assert_eq!([size("web-2"), size("web-1")], after.map(|n| json!(n)), "{before} to {now}");
    }
}

#[test]
fn pausing_stops_the_rollout_and_its_clock() {
    let paused = world(|d, _| {
        d["spec"]["paused"] = true.into();
        d["spec"]["template"]["spec"]["containers"][0]["image"] = "v3".into();
    });
    let plan_paused = plan(&paused);
    assert_eq!(plan_paused.lines(), [STATUS]);
    assert_eq!(progressing(&plan_paused)["reason"], "DeploymentPaused");
    assert_eq!(progressing(&plan_paused)["message"], "Deployment is paused");
    let resumed = world(|d, _| {
        d["status"]["conditions"][1] =
            json!({ "type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused" });
        for count in ["replicas", "updatedReplicas", "availableReplicas"] {
            d["status"][count] = 2.into();
        }
    });
    let mut unfinished = resumed;
    unfinished[1]["status"]["availableReplicas"] = 2.into();
    unfinished[1]["status"]["replicas"] = 2.into();
    assert_eq!(progressing(&plan(&unfinished))["reason"], "DeploymentResumed");
}

#[test]
fn progress_is_judged_by_the_deadline() {
    // A new set of which one pod of three is available; nothing has changed since `since`.
    let stuck = |since: &str| {
        world(|d, sets| {
            sets[0]["status"] = json!({ "observedGeneration": 1, "replicas": 3, "readyReplicas": 1, "availableReplicas": 1, "terminatingReplicas": 0 });
            let status = &mut d["status"];
            for field in ["readyReplicas", "availableReplicas"] {
                status[field] = 1.into();
            }
            status["unavailableReplicas"] = 2.into();
            status["conditions"][0]["status"] = "False".into();
            status["conditions"][0]["reason"] = "MinimumReplicasUnavailable".into();
            status["conditions"][1]["reason"] = "ReplicaSetUpdated".into();
            status["conditions"][1]["lastUpdateTime"] = since.into();
        })
    };
    assert_eq!(plan(&stuck("2026-01-01T11:55:00Z")).lines(), ["wake 2026-01-01T12:05:01Z"]);
    let late = plan(&stuck("2026-01-01T11:49:59Z"));
    let condition = progressing(&late);
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("ProgressDeadlineExceeded")));
    assert_eq!(condition["message"], "ReplicaSet \"web-2\" has timed out progressing.");
    assert_eq!(condition["lastTransitionTime"], "2026-01-01T12:00:00Z");
}

#[test]
fn replica_failures_are_passed_on() {
    let all = world(|_, sets| {
        sets[0]["status"]["conditions"] = json!([{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota",
            "lastTransitionTime": "2026-01-01T03:00:00Z",
        }]);
    });
    let conditions = body(&plan(&all), STATUS)["status"]["conditions"].clone();
    assert_eq!(conditions[2]["type"], "ReplicaFailure");
    assert_eq!(conditions[2]["message"], "quota");
}

#[test]
fn history_is_limited_to_empty_sets() {
    let history = |status_replicas: i64| {
        world(|d, sets| {
            d["spec"]["revisionHistoryLimit"] = 0.into();
            sets[1]["status"]["replicas"] = status_replicas.into();
            d["status"]["replicas"] = (3 + status_replicas).into();
        })
    };
    assert_eq!(plan(&history(0)).lines(), ["delete replicasets d/web-1"]);
    assert!(!plan(&history(1)).lines().iter().any(|l| l.starts_with("delete")));
}

#[test]
fn an_old_template_gets_a_new_revision() {
    let all = world(|d, _| d["spec"]["template"]["spec"]["containers"][0]["image"] = "v1".into());
    let plan = plan(&all);
    let set = body(&plan, "update replicasets d/web-1");
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(set["spec"]["replicas"], 1);
    assert_eq!(events(&plan), ["Normal ScalingReplicaSet: Scaled up replica set web-1 from 0 to 1"]);
    assert_eq!(body(&plan, STATUS)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn rolling_back_by_annotation() {
    for (to, event, image) in [
        ("0", "Normal DeploymentRollback: Rolled back deployment \"web\" to revision 1", "v1"),
        ("1", "Normal DeploymentRollback: Rolled back deployment \"web\" to revision 1", "v1"),
        (
            "2",
            "Warning DeploymentRollbackTemplateUnchanged: The rollback revision contains the same template as current deployment \"web\"",
            "v2",
        ),
        ("7", "Warning DeploymentRollbackRevisionNotFound: Unable to find the revision to rollback to.", "v2"),
    ] {
        let all = world(|d, _| d["metadata"]["annotations"]["deprecated.deployment.rollback.to"] = to.into());
        let plan = plan(&all);
        assert_eq!(plan.lines(), ["update deployments d/web"]);
        assert_eq!(events(&plan), [event]);
        let changed = body(&plan, "update deployments d/web");
        assert_eq!(changed["spec"]["template"]["spec"]["containers"][0]["image"], image);
        assert_eq!(changed["spec"]["template"]["metadata"]["labels"], json!({ "app": "web" }));
        let note = if image == "v1" { "old" } else { "x" };
        assert_eq!(
            changed["metadata"]["annotations"],
            json!({ "deployment.kubernetes.io/revision": "2", "note": note })
        );
    }
}

#[test]
fn a_deployment_that_goes_away_only_counts() {
    let all = world(|d, _| {
        d["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z".into();
        d["spec"]["replicas"] = 9.into();
        d["status"]["conditions"][0]["status"] = "False".into();
        d["status"]["conditions"][0]["reason"] = "MinimumReplicasUnavailable".into();
    });
    assert_eq!(plan(&all).lines(), [""; 0]);
}

#[test]
fn an_orphaned_set_is_adopted() {
    let all = world(|_, sets| {
        sets[1]["metadata"]["ownerReferences"] = Value::Null;
    });
    assert_eq!(plan(&all).lines(), ["patch replicasets d/web-1"]);
    assert!(plan(&all).writes().next().unwrap().alive.is_some());
}

#[test]
fn failures_elsewhere_wait_for_the_next_try() {
    let failure = Failure {
        verb: "update",
        resource: "replicasets".into(),
        name: "web-2".into(),
        reason: String::new(),
        message: "x".into(),
    };
    assert!(decide_after(&controller(), "d/web", CONVERGED, failure).is_converged());
    assert!(decide(&controller(), "d/none", CONVERGED).is_converged());
}

/// Carries out plans on plain objects and lets ReplicaSets follow, one pod per turn.
struct Cluster {
    all: Vec<Value>,
    turn: i64,
}

impl Cluster {
    fn number(value: &Value) -> i64 {
        value.as_i64().unwrap_or(0)
    }

    fn apply(&mut self, write: &Write) {
        let (plural, name) = (write.resource.plural.to_string(), write.name().to_owned());
        let kind = if plural == "deployments" { "Deployment" } else { "ReplicaSet" };
        let found = self.all.iter().position(|o| o["kind"] == kind && o["metadata"]["name"] == name.as_str());
        let mut sent = write.body();
        match (write.verb(), found) {
            ("create", None) => {
                sent["metadata"]["uid"] = name.into();
                sent["metadata"]["generation"] = 1.into();
                sent["metadata"]["creationTimestamp"] = format!("2026-01-01T03:00:{:02}Z", self.all.len()).into();
                self.all.push(sent);
            }
            ("delete", Some(at)) => drop(self.all.remove(at)),
            ("update", Some(at)) if write.subresource() == "status" => {
                self.all[at]["status"] = sent["status"].take();
                self.all[at]["metadata"]["annotations"] = sent["metadata"]["annotations"].take();
            }
            ("update", Some(at)) => {
                let changed = sent["spec"] != self.all[at]["spec"];
                sent["metadata"]["generation"] =
                    (Self::number(&self.all[at]["metadata"]["generation"]) + i64::from(changed)).into();
                sent["status"] = self.all[at]["status"].clone();
                self.all[at] = sent;
            }
            (verb, found) => panic!("{verb} {plural} {name} on {found:?}"),
        }
    }

    /// Sets remove surplus pods at once; a new pod takes a turn to become available, or never does.
    fn turn(&mut self, healthy: impl Fn(&Value) -> bool) {
        self.turn += 1;
        for set in self.all.iter_mut().filter(|o| o["kind"] == "ReplicaSet") {
            let wanted = Self::number(&set["spec"]["replicas"]);
            let available = Self::number(&set["status"]["availableReplicas"]).min(wanted);
            let grown = if healthy(set) { (available + 1).min(wanted) } else { available };
            set["status"] = json!({
                "replicas": wanted, "readyReplicas": grown, "availableReplicas": grown, "terminatingReplicas": 0,
                "observedGeneration": set["metadata"]["generation"],
            });
        }
    }

    fn sum(&self, pick: impl Fn(&Value) -> &Value) -> i64 {
        self.all.iter().filter(|o| o["kind"] == "ReplicaSet").map(|set| Self::number(pick(set))).sum()
    }

    fn decide(&self) -> Plan {
        let controller = controller();
        let view = controller.view_of(&self.all);
        (controller.decide)(&orlop_client::engine::Key::new("d", "web"), &view, at("2026-01-01T12:00:00Z"))
    }
}

#[test]
fn rollouts_end_and_never_leave_their_bounds() {
    for (replicas, surge, unavailable) in [
        (1, json!(1), json!(0)),
        (1, json!(0), json!(1)),
        (1, json!("25%"), json!("25%")),
        (3, json!("25%"), json!("25%")),
        (10, json!(3), json!(2)),
        (10, json!("0%"), json!("1%")),
        (7, json!("100%"), json!("100%")),
        (4, json!(0), json!(4)),
    ] {
        let all = world(|d, sets| {
            d["spec"]["replicas"] = replicas.into();
            d["spec"]["strategy"]["rollingUpdate"] = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v3".into();
            sets[0]["spec"]["replicas"] = replicas.into();
            for count in ["replicas", "readyReplicas", "availableReplicas"] {
                sets[0]["status"][count] = replicas.into();
            }
            sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] =
                replicas.to_string().into();
        });
        let deployment = std::sync::Arc::new(serde_json::from_value(all[0].clone()).unwrap());
        let bounds = super::rollout::Rollout::new(&deployment, Vec::new(), at("2026-01-01T12:00:00Z"));
        let (max, min) = (replicas + i64::from(bounds.max_surge()), replicas - i64::from(bounds.max_unavailable()));
        let mut cluster = Cluster { all, turn: 0 };
        loop {
            let plan = cluster.decide();
            for write in plan.writes() {
                cluster.apply(write);
                let (pods, up) =
                    (cluster.sum(|s| &s["spec"]["replicas"]), cluster.sum(|s| &s["status"]["availableReplicas"]));
                assert!(pods <= max, "{pods} pods, at most {max} allowed ({replicas}, {surge}, {unavailable})");
                assert!(up >= min, "{up} available, at least {min} wanted ({replicas}, {surge}, {unavailable})");
            }
            let before = cluster.all.clone();
            cluster.turn(|_| true);
            if plan.is_converged() && cluster.all == before {
                break;
            }
            assert!(cluster.turn < 200, "the rollout does not end ({replicas}, {surge}, {unavailable})");
        }
        let done = cluster.all[0]["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["type"] == "Progressing")
            .unwrap();
        assert_eq!(done["reason"], "NewReplicaSetAvailable");
        assert_eq!(cluster.all[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
        assert_eq!(cluster.sum(|s| &s["spec"]["replicas"]), replicas);
    }
}

#[test]
fn a_bad_template_stops_before_it_hurts() {
    let all = world(|d, _| d["spec"]["template"]["spec"]["containers"][0]["image"] = "broken".into());
    let mut cluster = Cluster { all, turn: 0 };
    let broken = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"] != "broken";
    for _ in 0..20 {
        for write in cluster.decide().writes() {
            cluster.apply(write);
        }
        cluster.turn(broken);
    }
    // 25 % of 3: one more, none less.
    assert_eq!(cluster.sum(|s| &s["spec"]["replicas"]), 4);
    assert_eq!(cluster.sum(|s| &s["status"]["availableReplicas"]), 3);
}

#[test]
fn recreate_stops_all_before_it_starts_any() {
    let mut all = world(|d, _| {
        d["spec"]["strategy"] = json!({ "type": "Recreate" });
        d["spec"]["template"]["spec"]["containers"][0]["image"] = "v3".into();
    });
    all.push(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "p", "namespace": "d", "uid": "p", "labels": { "app": "web" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-2", "uid": "web-2", "controller": true }] },
        "status": { "phase": "Running" },
    }));
    let mut cluster = Cluster { all, turn: 0 };
    let scaled_down = cluster.decide();
    assert_eq!(events(&scaled_down), ["Normal ScalingReplicaSet: Scaled down replica set web-2 from 3 to 0"]);
    for _ in 0..3 {
        for write in cluster.decide().writes() {
            cluster.apply(write);
        }
        cluster.turn(|_| true);
    }
    // The set says it has no pods, but one still runs.
    assert_eq!(cluster.sum(|s| &s["spec"]["replicas"]), 0);
    cluster.all.retain(|o| o["kind"] != "Pod");
    for _ in 0..6 {
        for write in cluster.decide().writes() {
            cluster.apply(write);
        }
        cluster.turn(|_| true);
    }
    assert_eq!(cluster.sum(|s| &s["status"]["availableReplicas"]), 3);
    assert!(cluster.decide().is_converged(), "{:?}", cluster.decide().lines());
}
