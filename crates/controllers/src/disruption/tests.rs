use serde_json::json;

use super::{controller, stale};
use crate::common::fixture::{body, decide, events};

/// Three pods of a ReplicaSet, one of which may go.
pub const CONVERGED: &str = "
kind: PodDisruptionBudget
metadata: {name: web, generation: 2}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
status:
  currentHealthy: 3
  desiredHealthy: 2
  expectedPods: 3
  disruptionsAllowed: 1
  observedGeneration: 2
  conditions: [{type: DisruptionAllowed, status: 'True', reason: SufficientPods, message: '', observedGeneration: 2, lastTransitionTime: '2026-01-01T11:00:00Z'}]
---
kind: Deployment
metadata: {name: web}
spec: {replicas: 3, selector: {}, template: {}}
---
kind: ReplicaSet
metadata: {name: web-1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: web, controller: true}]}
spec: {replicas: 9, selector: {}}
---
kind: Pod
metadata: {name: a, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: web-1, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
kind: Pod
metadata: {name: b, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: web-1, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
kind: Pod
metadata: {name: c, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: web-1, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}
";

/// A pod that is to be evicted since a minute ago.
pub const STALE_CONVERGED: &str = "
kind: Pod
metadata: {name: p}
status: {phase: Running, conditions: [{type: DisruptionTarget, status: 'True', lastTransitionTime: '2026-01-01T11:59:00Z'}]}
";

const STATUS: &str = "update poddisruptionbudgets/status d/web";

fn numbers(yaml: &str) -> [i64; 4] {
    let status = body(&decide(&controller(), "d/web", yaml), STATUS)["status"].clone();
    ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"]
        .map(|field| status[field].as_i64().unwrap())
}

#[test]
fn counts_what_the_controllers_want_and_what_is_well() {
    assert!(decide(&controller(), "d/web", CONVERGED).is_converged());
    assert_eq!(numbers(&CONVERGED.replacen("'True'}]}\n---", "'False'}]}\n---", 1)), [2, 2, 3, 0]);
    assert_eq!(numbers(&CONVERGED.replace("maxUnavailable: 1", "maxUnavailable: 50%")), [3, 1, 3, 2]);
    assert_eq!(numbers(&CONVERGED.replace("maxUnavailable: 1", "minAvailable: 1")), [3, 1, 3, 2]);
    assert_eq!(numbers(&CONVERGED.replace("maxUnavailable: 1", "minAvailable: 67%")), [3, 3, 3, 0]);
    assert_eq!(numbers(&CONVERGED.replace("{replicas: 3,", "{replicas: 5,")), [3, 4, 5, 0]);
}

#[test]
fn an_allowed_eviction_counts_until_it_has_taken_too_long() {
    let evicted = |since: &str| {
        CONVERGED.replace("expectedPods: 3", &format!("expectedPods: 3\n  disruptedPods: {{a: '{since}'}}"))
    };
    let plan = decide(&controller(), "d/web", &evicted("2026-01-01T11:59:00Z"));
    assert_eq!(plan.lines(), [STATUS, "wake 2026-01-01T12:01:00Z"]);
    assert_eq!(body(&plan, STATUS)["status"]["disruptionsAllowed"], 0);
    let late = decide(&controller(), "d/web", &evicted("2026-01-01T11:57:00Z"));
    assert_eq!(body(&late, STATUS)["status"]["disruptedPods"], json!(null));
    assert_eq!(events(&late), ["Warning NotDeleted: Pod was expected by PDB d/d to be deleted but it wasn't"]);
}

#[test]
fn pods_that_nobody_counts_are_told_of() {
    let alone = CONVERGED.replace("name: web-1, uid: web-1", "name: other, uid: other");
    let plan = decide(&controller(), "d/web", &alone);
    let condition = &body(&plan, STATUS)["status"]["conditions"][0];
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("SyncFailed"), &json!("found no controllers for pod \"a\""))
    );
    let unmanaged = "
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
kind: Pod
metadata: {name: a, labels: {app: web}}
";
    let plan = decide(&controller(), "d/web", unmanaged);
    assert!(events(&plan)[0].starts_with(
        "Warning UnmanagedPods: Pods selected by this PodDisruptionBudget (selector: \
         &LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{},}) were"
    ));
    let empty = decide(&controller(), "d/web", unmanaged.split("---").next().unwrap());
    assert_eq!(events(&empty), ["Normal NoPods: No matching pods found"]);
}

#[test]
fn a_disruption_that_did_not_come_is_taken_back() {
    let decide = |yaml: &str| decide(&stale::controller(), "d/p", yaml);
    assert_eq!(decide(STALE_CONVERGED).lines(), ["wake 2026-01-01T12:01:00Z"]);
    let old = STALE_CONVERGED.replace("11:59", "11:50");
    let plan = decide(&old);
    assert_eq!(body(&plan, "patch pods/status d/p")["status"]["conditions"][0]["status"], "False");
    let kubelet = old.replace("status: 'True'", "reason: TerminationByKubelet, status: 'True'");
    assert!(decide(&kubelet).is_converged());
}
