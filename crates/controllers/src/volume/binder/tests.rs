use serde_json::json;

use super::{claims, volumes};
use crate::common::fixture::{body, decide, events};

/// A claim and a volume that have each other.
pub const CONVERGED: &str = "
kind: PersistentVolumeClaim
metadata: {name: data, annotations: {pv.kubernetes.io/bind-completed: 'yes', pv.kubernetes.io/bound-by-controller: 'yes'}}
spec: {volumeName: v, storageClassName: '', accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
status: {phase: Bound, accessModes: [ReadWriteOnce], capacity: {storage: 2Gi}}
---
kind: PersistentVolume
metadata: {name: v, annotations: {pv.kubernetes.io/bound-by-controller: 'yes'}}
spec: {accessModes: [ReadWriteOnce], capacity: {storage: 2Gi}, claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: d, name: data, uid: data, resourceVersion: '1'}}
status: {phase: Bound}
";

const FREE: &str = "
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: '', accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
status: {phase: Pending}
---
kind: PersistentVolume
metadata: {name: v}
spec: {accessModes: [ReadWriteOnce], capacity: {storage: 2Gi}}
status: {phase: Available}
";

const CLAIM: &str = "update persistentvolumeclaims d/data";
const CLAIM_STATUS: &str = "update persistentvolumeclaims/status d/data";
const VOLUME: &str = "update persistentvolumes v";
const VOLUME_STATUS: &str = "update persistentvolumes/status v";

fn claim_lines(yaml: &str) -> Vec<String> {
    decide(&claims::controller(), "d/data", yaml).lines()
}

fn volume_lines(yaml: &str) -> Vec<String> {
    decide(&volumes::controller(), "v", yaml).lines()
}

#[test]
fn a_claim_and_a_volume_find_each_other_step_by_step() {
    let plan = decide(&claims::controller(), "d/data", FREE);
    assert_eq!(plan.lines(), [VOLUME, CLAIM]);
    let volume = body(&plan, VOLUME);
    assert_eq!(volume["spec"]["claimRef"]["uid"], "data");
    assert_eq!(volume["metadata"]["annotations"], json!({"pv.kubernetes.io/bound-by-controller": "yes"}));
    let claim = body(&plan, CLAIM);
    assert_eq!(claim["spec"]["volumeName"], "v");
    let annotations = json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"});
    assert_eq!(claim["metadata"]["annotations"], annotations);
    assert_eq!(
        volume_lines(&CONVERGED.replace("status: {phase: Bound}", "status: {phase: Available}")),
        [VOLUME_STATUS]
    );
    let told = CONVERGED.replace(
        "status: {phase: Bound, accessModes: [ReadWriteOnce], capacity: {storage: 2Gi}}",
        "status: {phase: Pending}",
    );
    let plan = decide(&claims::controller(), "d/data", &told);
    assert_eq!(
        body(&plan, CLAIM_STATUS)["status"],
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}})
    );
    let half =
        FREE.replace("capacity: {storage: 2Gi}}", "capacity: {storage: 2Gi}, claimRef: {namespace: d, name: data}}");
    assert_eq!(claim_lines(&half), [VOLUME, CLAIM], "made for this claim");
    assert_eq!(
        claim_lines(&FREE.replace("spec: {storageClassName: ''", "spec: {volumeName: v, storageClassName: ''")),
        [VOLUME, CLAIM]
    );
}

#[test]
fn a_claim_that_finds_nothing_says_what_it_waits_for() {
    let told = |yaml: &str| {
        let plan = decide(&claims::controller(), "d/data", yaml);
        assert!(plan.steps.is_empty(), "{:?}", plan.lines());
        events(&plan)
    };
    let alone = FREE.split("---").next().unwrap();
    assert_eq!(
        told(alone),
        ["Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"]
    );
    let class = |mode: &str| {
        format!(
            "---\nkind: StorageClass\nmetadata: {{name: c}}\nprovisioner: example.com/p\nvolumeBindingMode: {mode}\n"
        )
    };
    let of_class = alone.replace("storageClassName: ''", "storageClassName: c");
    assert_eq!(told(&of_class), ["Warning ProvisioningFailed: storageclass.storage.k8s.io \"c\" not found"]);
    let waiting = of_class.clone() + &class("WaitForFirstConsumer");
    assert_eq!(
        told(&waiting),
        ["Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"]
    );
    let pod = "---\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]}\n";
    assert_eq!(told(&(waiting + pod)), ["Normal WaitForPodScheduled: waiting for pod p to be scheduled"]);
    let plan = decide(&claims::controller(), "d/data", &(of_class + &class("Immediate")));
    assert_eq!(
        body(&plan, CLAIM)["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"],
        "example.com/p"
    );
    let taken = CONVERGED
        .replace("name: data, uid: data", "name: other, uid: other")
        .replace("pv.kubernetes.io/bind-completed: 'yes', ", "");
    assert_eq!(
        events(&decide(&claims::controller(), "d/data", &taken)),
        ["Warning FailedBinding: volume \"v\" already bound to a different claim."]
    );
}

#[test]
fn a_claim_without_a_class_gets_the_default_one() {
    let class = "---\nkind: StorageClass\nmetadata: {name: c, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}\nprovisioner: p\n";
    let yaml = FREE.split("---").next().unwrap().replace("storageClassName: '', ", "") + class;
    let plan = decide(&claims::controller(), "d/data", &yaml);
    assert_eq!(body(&plan, CLAIM)["spec"]["storageClassName"], "c");
}

#[test]
fn what_was_bound_and_is_no_more_is_lost() {
    let alone = CONVERGED.split("---").next().unwrap();
    let plan = decide(&claims::controller(), "d/data", alone);
    assert_eq!(body(&plan, CLAIM_STATUS)["status"]["phase"], "Lost");
    assert_eq!(
        events(&plan),
        ["Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"]
    );
}

#[test]
fn a_volume_is_released_when_its_claim_is_gone_and_stays_so() {
    let alone = CONVERGED.split("---").nth(1).unwrap();
    let plan = decide(&volumes::controller(), "v", alone);
    assert_eq!(body(&plan, VOLUME_STATUS)["status"]["phase"], "Released");
    let released = alone.replace("phase: Bound", "phase: Released");
    assert!(volume_lines(&released).is_empty());
    let deleted = released.replace("spec: {", "spec: {persistentVolumeReclaimPolicy: Delete, ");
    let plan = decide(&volumes::controller(), "v", &deleted);
    assert_eq!(body(&plan, VOLUME_STATUS)["status"]["phase"], "Failed");
    assert!(
        events(&plan)[0]
            .starts_with("Warning VolumeFailedDelete: error getting deleter volume plugin for volume \"v\"")
    );
    let elsewhere = CONVERGED.replace("volumeName: v", "volumeName: w");
    let plan = decide(&volumes::controller(), "v", &elsewhere);
    assert_eq!(body(&plan, VOLUME)["spec"]["claimRef"], json!(null), "free again");
}
