use std::sync::Arc;

use orlop_api::typed::kinds::ControllerRevision;
use orlop_client::cache::Delta;
use serde_json::json;

use super::controller;
use crate::common::fixture::{body, decide, events, objects};

/// Two nodes, one pod on each, ready and of the only revision.
pub const CONVERGED: &str = "
kind: DaemonSet
metadata: {name: log, generation: 1}
spec:
  selector: {matchLabels: {app: log}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  revisionHistoryLimit: 10
  template: {metadata: {labels: {app: log}}, spec: {containers: [{name: c, image: i}]}}
status: {currentNumberScheduled: 2, desiredNumberScheduled: 2, numberMisscheduled: 0, numberReady: 2, numberAvailable: 2, updatedNumberScheduled: 2, observedGeneration: 1}
---
kind: ControllerRevision
metadata: {name: log-1, labels: {app: log, controller-revision-hash: h1}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: log, uid: log, controller: true}]}
revision: 1
data: {spec: {template: {$patch: replace, metadata: {labels: {app: log}}, spec: {containers: [{name: c, image: i}]}}}}
---
kind: Node
metadata: {name: a}
---
kind: Node
metadata: {name: b}
---
kind: Pod
metadata: {name: log-a, labels: {app: log, controller-revision-hash: h1}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: log, uid: log, controller: true}]}
spec: {nodeName: a, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}
---
kind: Pod
metadata: {name: log-b, labels: {app: log, controller-revision-hash: h1}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: log, uid: log, controller: true}]}
spec: {nodeName: b, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}
";

const STATUS: &str = "update daemonsets/status d/log";

fn lines(yaml: &str) -> Vec<String> {
    decide(&controller(), "d/log", yaml).lines()
}

fn change(from: &str, to: &str) -> String {
    assert!(CONVERGED.contains(from), "{from}");
    CONVERGED.replacen(from, to, 1)
}

#[test]
fn a_node_without_a_pod_gets_one_that_can_go_nowhere_else() {
    let plan = decide(&controller(), "d/log", &format!("{CONVERGED}\n---\nkind: Node\nmetadata: {{name: c}}\n"));
    assert_eq!(plan.lines(), ["create pods d/log-*", STATUS]);
    assert_eq!(events(&plan), ["Normal SuccessfulCreate: Created pod: {name}"]);
    let pod = body(&plan, "create pods d/log-*");
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["c"]}]}]);
    assert_eq!(required["nodeSelectorTerms"], terms);
    assert_eq!(pod["metadata"]["labels"], json!({"app": "log", "controller-revision-hash": "h1"}));
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    assert_eq!(tolerations.len(), 6);
    assert_eq!(
        tolerations[0],
        json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"})
    );
}

#[test]
fn unfit_nodes_get_none_and_lose_theirs() {
    let tainted = |effect: &str| {
        let taint = format!("metadata: {{name: a}}\nspec: {{taints: [{{key: k, effect: {effect}}}]}}");
        lines(&change("metadata: {name: a}", &taint))
    };
    assert_eq!(tainted("NoSchedule"), [STATUS], "stays, but should not be there");
    assert_eq!(tainted("NoExecute"), ["delete pods d/log-a", STATUS]);
    let selecting =
        CONVERGED.replace("spec: {containers: [{name", "spec: {nodeSelector: {disk: ssd}, containers: [{name");
    assert_eq!(lines(&selecting), ["delete pods d/log-a", "delete pods d/log-b", STATUS]);
}

#[test]
fn ended_pods_are_replaced_but_not_in_a_hot_loop() {
    let failed = change("phase: Running", "phase: Failed");
    let plan = decide(&controller(), "d/log", &failed);
    assert_eq!(plan.lines()[0], "delete pods d/log-a");
    let text = "Warning FailedDaemonPod: Found failed daemon pod d/log-a on node a, will try to kill it";
    assert_eq!(events(&plan)[1], text);
    let young = failed.replacen(
        "metadata: {name: log-a,",
        "metadata: {name: log-a, creationTimestamp: '2026-01-01T11:59:58Z',",
        1,
    );
    assert_eq!(lines(&young), ["wake 2026-01-01T12:00:08Z"]);
    let succeeded = decide(&controller(), "d/log", &change("phase: Running", "phase: Succeeded"));
    assert_eq!(
        events(&succeeded)[1],
        "Normal SucceededDaemonPod: Found succeeded daemon pod d/log-a on node a, will try to delete it"
    );
}

#[test]
fn of_two_pods_on_a_node_the_older_stays() {
    let extra = CONVERGED.split("---").nth(4).unwrap().replace("name: log-a", "name: log-a2");
    assert_eq!(lines(&format!("{CONVERGED}---{extra}")), ["delete pods d/log-a2"]);
}

#[test]
fn a_new_template_replaces_one_pod_at_a_time() {
    let yaml = change("image: i", "image: j");
    let plan = decide(&controller(), "d/log", &yaml);
    let lines = plan.lines();
    assert!(lines[0].starts_with("create controllerrevisions d/log-"), "{lines:?}");
    assert_eq!(lines[1..], ["delete pods d/log-a", STATUS]);
    let by_hand =
        yaml.replace("type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}", "type: OnDelete");
    assert!(!decide(&controller(), "d/log", &by_hand).lines().iter().any(|line| line.starts_with("delete")));
    let all = yaml.replace("maxUnavailable: 1", "maxUnavailable: 100%");
    assert_eq!(decide(&controller(), "d/log", &all).lines()[1..3], ["delete pods d/log-a", "delete pods d/log-b"]);
    let down = yaml.replacen("status: 'True'", "status: 'False'", 1);
    assert_eq!(decide(&controller(), "d/log", &down).lines()[1..], ["delete pods d/log-a", STATUS]);
}

#[test]
fn while_surging_the_new_pod_comes_first() {
    let surging = change("maxSurge: 0, maxUnavailable: 1", "maxSurge: 1, maxUnavailable: 0");
    let yaml = surging.replacen("image: i", "image: j", 1);
    let made = decide(&controller(), "d/log", &yaml).lines();
    assert_eq!(made[1..], ["create pods d/log-*", STATUS], "one node at a time");
    let new = |ready: &str| {
        let pod = yaml.split("---").nth(4).unwrap().replace("name: log-a", "name: log-a2");
        let revision = "controller-revision-hash: h2";
        let pod = pod.replace("controller-revision-hash: h1", revision).replace("'True'", ready);
        let revisions = yaml.split("---").nth(1).unwrap();
        let newer = revisions
            .replace("name: log-1", "name: log-2")
            .replace("hash: h1", "hash: h2")
            .replace("image: i", "image: j");
        let newer = newer.replace("revision: 1", "revision: 2");
        format!("{yaml}---{newer}---{pod}")
    };
    assert!(!lines(&new("'False'")).iter().any(|l| l.starts_with("delete") || l.starts_with("create")), "waits");
    assert_eq!(lines(&new("'True'"))[0], "delete pods d/log-a");
}

#[test]
fn going_back_makes_the_old_revision_the_newest_again() {
    let newer = CONVERGED.split("---").nth(1).unwrap().replace("name: log-1", "name: log-2");
    let newer =
        newer.replace("hash: h1", "hash: h2").replace("image: i", "image: j").replace("revision: 1", "revision: 2");
    let plan = decide(&controller(), "d/log", &format!("{CONVERGED}---{newer}"));
    assert_eq!(plan.lines(), ["update controllerrevisions d/log-1"]);
    assert_eq!(body(&plan, "update controllerrevisions d/log-1")["revision"], 3);
}

#[test]
fn a_set_that_goes_away_is_left_alone() {
    let yaml = change("generation: 1}", "generation: 1, deletionTimestamp: '2026-01-01T11:00:00Z'}");
    assert_eq!(lines(&yaml.replace("phase: Running", "phase: Failed")), [""; 0]);
}

#[test]
fn a_revision_made_by_somebody_else_wakes_nobody_but_its_end_does() {
    let view = controller().view_of(&objects(CONVERGED));
    let revision = view.of::<ControllerRevision>().get("d", "log-1").cloned();
    let woken = |old: Option<Arc<ControllerRevision>>, new: Option<Arc<ControllerRevision>>| {
        let mut keys = Vec::new();
        super::wake_for_revision(&Delta { old, new }, &view, &mut |key| keys.push(key.to_string()));
        keys
    };
    assert_eq!(woken(None, revision.clone()), [""; 0]);
    assert_eq!(woken(revision, None), ["d/log"]);
}
