use serde_json::json;

use super::controller;
use crate::common::fixture::{body, decide, events};

/// Two pods wanted, named, ready and of the only revision.
pub const CONVERGED: &str = "
kind: StatefulSet
metadata: {name: web, generation: 1}
spec:
  replicas: 2
  serviceName: web
  selector: {matchLabels: {app: web}}
  podManagementPolicy: OrderedReady
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}
  revisionHistoryLimit: 1
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
status: {replicas: 2, readyReplicas: 2, availableReplicas: 2, currentReplicas: 2, updatedReplicas: 2, currentRevision: web-1, updateRevision: web-1, observedGeneration: 1, collisionCount: 0}
---
kind: ControllerRevision
metadata: {name: web-1, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: web, controller: true}]}
revision: 1
data: {spec: {template: {$patch: replace, metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}}}
---
kind: Pod
metadata: {name: web-0, labels: {app: web, controller-revision-hash: web-1, statefulset.kubernetes.io/pod-name: web-0}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: web, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}
---
kind: Pod
metadata: {name: web-1, labels: {app: web, controller-revision-hash: web-1, statefulset.kubernetes.io/pod-name: web-1}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: web, controller: true}]}
status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}
";

const STATUS: &str = "update statefulsets/status d/web";

fn change(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(CONVERGED.to_owned(), |yaml, (from, to)| {
        assert!(yaml.contains(from), "{from}");
        yaml.replace(from, to)
    })
}

fn lines(yaml: &str) -> Vec<String> {
    decide(&controller(), "d/web", yaml).lines()
}

/// Without the pods from `web-<first>` on.
fn without_pods(yaml: &str, first: usize) -> String {
    let parts: Vec<&str> = yaml.split("---").collect();
    parts[..2 + first].join("---")
}

#[test]
fn pods_are_made_one_after_the_other_with_an_identity() {
    let yaml = without_pods(&change(&[("replicas: 2\n", "replicas: 3\n")]), 0);
    let plan = decide(&controller(), "d/web", &yaml);
    assert_eq!(plan.lines()[0], "create pods d/web-0");
    assert_eq!(plan.writes().count(), 2, "one pod and the status: {:?}", plan.lines());
    assert_eq!(events(&plan), ["Normal SuccessfulCreate: Create Pod web-0 in StatefulSet web successful"]);
    let pod = body(&plan, "create pods d/web-0");
    let labels = json!({"app": "web", "controller-revision-hash": "web-1", "apps.kubernetes.io/pod-index": "0",
        "statefulset.kubernetes.io/pod-name": "web-0"});
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("web-0"), &json!("web")));
    let one = without_pods(&change(&[("replicas: 2\n", "replicas: 3\n")]), 1);
    assert_eq!(lines(&one)[0], "create pods d/web-1");
    let unready = one.replace("status: 'True'", "status: 'False'");
    assert!(!lines(&unready).iter().any(|line| line.starts_with("create")), "an unready pod holds the next back");
    let parallel = unready.replace("OrderedReady", "Parallel");
    assert_eq!(lines(&parallel)[..2], ["create pods d/web-1", "create pods d/web-2"]);
}

#[test]
fn ordinals_may_start_elsewhere() {
    let yaml = without_pods(&change(&[("serviceName: web", "serviceName: web\n  ordinals: {start: 5}")]), 0);
    assert_eq!(lines(&yaml)[0], "create pods d/web-5");
}

#[test]
fn surplus_pods_go_from_the_top_once_all_below_are_well() {
    let yaml = change(&[("replicas: 2\n", "replicas: 0\n")]);
    let plan = decide(&controller(), "d/web", &yaml);
    assert_eq!(plan.writes().map(ToString::to_string).collect::<Vec<_>>(), ["delete pods d/web-1"]);
    assert_eq!(events(&plan), ["Normal SuccessfulDelete: Delete Pod web-1 in StatefulSet web successful"]);
    let unhealthy = yaml.replace("status: 'True'", "status: 'False'");
    assert!(!lines(&unhealthy).iter().any(|line| line.starts_with("delete")), "web-0 is down: it goes last");
    let parallel = unhealthy.replace("OrderedReady", "Parallel");
    assert_eq!(lines(&parallel)[..2], ["delete pods d/web-1", "delete pods d/web-0"]);
}

#[test]
fn a_new_template_is_a_new_revision_and_rolls_from_the_top() {
    let yaml = CONVERGED.replacen("image: i", "image: j", 1);
    let plan = decide(&controller(), "d/web", &yaml);
    let lines = plan.lines();
    assert!(lines[0].starts_with("create controllerrevisions d/web-"), "{lines:?}");
    assert_eq!(lines[1..], ["delete pods d/web-1", STATUS]);
    let revision = plan.writes().next().unwrap().body();
    assert_eq!(revision["revision"], 2);
    let template = json!({"$patch": "replace", "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "j"}]}});
    assert_eq!(revision["data"], json!({"spec": {"template": template}}));
    let status = &body(&plan, STATUS)["status"];
    assert_eq!((&status["currentRevision"], &status["currentReplicas"]), (&json!("web-1"), &json!(1)));
    assert_eq!(status["updateRevision"], revision["metadata"]["name"]);
    let held = yaml.replace("partition: 0", "partition: 2");
    assert!(!decide(&controller(), "d/web", &held).lines().iter().any(|l| l.starts_with("delete")));
    let by_hand = yaml.replace("{type: RollingUpdate, rollingUpdate: {partition: 0}}", "{type: OnDelete}");
    assert!(!decide(&controller(), "d/web", &by_hand).lines().iter().any(|l| l.starts_with("delete")));
    let two = yaml.replace("partition: 0", "partition: 0, maxUnavailable: 2");
    let deleted = decide(&controller(), "d/web", &two).lines().iter().filter(|l| l.starts_with("delete")).count();
    assert_eq!(deleted, 2);
}

#[test]
fn going_back_makes_the_old_revision_the_newest_again() {
    let newer = "
---
kind: ControllerRevision
metadata: {name: web-2, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: web, controller: true}]}
revision: 2
data: {spec: {template: {$patch: replace, metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: j}]}}}}
";
    let plan = decide(&controller(), "d/web", &format!("{CONVERGED}{newer}"));
    assert_eq!(plan.lines(), ["update controllerrevisions d/web-1"]);
    assert_eq!(body(&plan, "update controllerrevisions d/web-1")["revision"], 3);
    let forgets = format!("{CONVERGED}{newer}").replace("revisionHistoryLimit: 1", "revisionHistoryLimit: 0");
    assert_eq!(lines(&forgets), ["update controllerrevisions d/web-1", "delete controllerrevisions d/web-2"]);
}

#[test]
fn a_pod_below_the_partition_comes_back_as_it_was() {
    let yaml = CONVERGED.replacen("image: i", "image: j", 1).replace("partition: 0", "partition: 2");
    let plan = decide(&controller(), "d/web", &without_pods(&yaml, 1));
    let pod = body(&plan, "create pods d/web-1");
    assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], "web-1");
    assert_eq!(pod["spec"]["containers"][0]["image"], "i");
}

#[test]
fn ended_pods_are_replaced() {
    for phase in ["Failed", "Succeeded"] {
        let yaml = CONVERGED.replacen("phase: Running", &format!("phase: {phase}"), 1);
        assert_eq!(lines(&yaml)[0], "delete pods d/web-0");
    }
}

const CLAIMS: (&str, &str) = (
    "serviceName: web",
    "serviceName: web
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]",
);

#[test]
fn claims_come_before_their_pod() {
    let plan = decide(&controller(), "d/web", &without_pods(&change(&[CLAIMS]), 0));
    assert_eq!(plan.lines()[..2], ["create persistentvolumeclaims d/data-web-0", "create pods d/web-0"]);
    assert_eq!(
        events(&plan)[0],
        "Normal SuccessfulCreate: Create Claim data-web-0 Pod web-0 in StatefulSet web success"
    );
    assert_eq!(body(&plan, "create persistentvolumeclaims d/data-web-0")["metadata"]["labels"], json!({"app": "web"}));
    let volume = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]);
    assert_eq!(body(&plan, "create pods d/web-0")["spec"]["volumes"], volume);
}

#[test]
fn claims_belong_to_whom_the_policy_says() {
    let claim = |n: u32| {
        format!(
            "\n---\nkind: PersistentVolumeClaim\nmetadata: {{name: data-web-{n}, labels: {{app: web}}}}\nspec: {{}}\n"
        )
    };
    let mounted = |n: u32| {
        (
            format!("statefulset.kubernetes.io/pod-name: web-{n}}}"),
            format!(
                "spec: {{containers: [], volumes: [{{name: data, persistentVolumeClaim: {{claimName: data-web-{n}}}}}]}}\n"
            ),
        )
    };
    let mut yaml = change(&[CLAIMS, ("replicas: 2\n", "replicas: 1\n")]);
    for n in 0..2 {
        let (label, spec) = mounted(n);
        let at = yaml.find(&label).unwrap();
        let line = at + yaml[at..].find('\n').unwrap() + 1;
        yaml.insert_str(line, &spec);
    }
    let plan = decide(&controller(), "d/web", &(yaml + &claim(0) + &claim(1)));
    let owner = |n: u32| {
        let line = format!("update persistentvolumeclaims d/data-web-{n}");
        body(&plan, &line)["metadata"]["ownerReferences"][0]["kind"].clone()
    };
    assert_eq!((owner(0), owner(1)), (json!("StatefulSet"), json!("Pod")), "{:?}", plan.lines());
}

#[test]
fn availability_is_waited_for() {
    let yaml = change(&[("serviceName: web", "serviceName: web\n  minReadySeconds: 60")])
        .replace("2026-01-01T01:00:00Z", "2026-01-01T11:59:20Z");
    assert_eq!(lines(&yaml), [STATUS, "wake 2026-01-01T12:00:20Z"]);
}
