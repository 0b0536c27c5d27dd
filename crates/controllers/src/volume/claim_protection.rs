//! PersistentVolumeClaims stay while a pod uses them (`kubernetes.io/pvc-protection`), and tell whether
//! one does (condition `Unused`, KEP-5541).

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use orlop_api::pods::{is_finished, node_name};
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::PersistentVolumeClaimCondition;
use orlop_api::typed::kinds::{PersistentVolumeClaim, Pod};
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, View, Write};
use orlop_client::{Client, ListOptions};

use super::protection::protected;
use super::{BY_CLAIM, claim_names, mounts};
use crate::common::{owners::controller_of, seconds};

const FINALIZER: &str = "kubernetes.io/pvc-protection";
const UNUSED: &str = "Unused";

pub fn controller() -> Controller {
    let pods = Source::indexed::<Pod>(vec![BY_CLAIM], |delta, _, wake| {
        for pod in delta.sides() {
            claim_names(pod).for_each(|claim| wake(Key::new(Typed::namespace(&**pod), &claim)));
        }
    });
    let mut grants = vec![
        Grant::new("", &["persistentvolumeclaims"], &["get", "list", "watch", "update"]),
        Grant::new("", &["persistentvolumeclaims/status"], &["update"]),
        Grant::new("", &["pods"], &["list", "watch", "get"]),
    ];
    grants.extend(Grant::EVENTS);
    let sources = vec![Source::subject::<PersistentVolumeClaim>(), pods];
    let mut controller = Controller::new("pvc-protection-controller", "pvcprotection", sources, grants, decide);
    controller.look = Some(Box::new(look));
    controller
}

/// The server knows a pod that uses a claim which the cache has nobody use.
struct UsedAfterAll;

fn look(client: Client, key: Key, view: View) -> BoxFuture<'static, orlop_client::Result<View>> {
    Box::pin(async move {
        let Some(claim) = view.subject::<PersistentVolumeClaim>(&key).cloned() else { return Ok(view) };
        if !is_leaving(&claim) || pods(&key, &view).any(|pod| keeps(pod, &claim)) {
            return Ok(view);
        }
        let all = client.api::<Pod>(key.namespace()).list(&ListOptions::default()).await?;
        let used = all.items.iter().any(|pod| keeps(pod, &claim));
        Ok(if used { view.with(UsedAfterAll) } else { view })
    })
}

fn pods<'a>(key: &Key, view: &'a View) -> impl Iterator<Item = &'a Pod> + use<'a> {
    view.of::<Pod>().indexed(BY_CLAIM.name, key.as_str()).map(|pod| &**pod)
}

fn is_leaving(claim: &PersistentVolumeClaim) -> bool {
    claim.metadata.deletion_timestamp.is_some()
        && claim.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The kubelet has the pod, and has not given up the volume yet. It starts no pod with a claim that is
/// about to go, so one that is on no node does not count.
fn keeps(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let leaving = pod.metadata.deletion_timestamp.is_some() && pod.metadata.deletion_grace_period_seconds == Some(0);
    let made_for_it = controller_of(claim).is_some_and(|owner| owner.uid == Typed::uid(pod));
    node_name(pod).is_some() && mounts(pod, claim) && !(leaving && made_for_it)
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(claim) = view.subject::<PersistentVolumeClaim>(key) else { return plan };
    let is_kept = view.facts::<UsedAfterAll>().is_some() || pods(key, view).any(|pod| keeps(pod, claim));
    if let Some(changed) = protected(&**claim, FINALIZER, is_kept) {
        plan.write(Write::update(&changed));
        return plan;
    }
    let is_bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    if claim.metadata.deletion_timestamp.is_none() && is_bound {
        let used = pods(key, view).any(|pod| !is_finished(pod) && mounts(pod, claim));
        plan.steps.extend(tell_use(claim, used, now).map(|write| orlop_client::engine::Step::Write(Box::new(write))));
    }
    plan
}

fn tell_use(claim: &PersistentVolumeClaim, used: bool, now: Timestamp) -> Option<Write> {
    let (status, reason, message) = if used {
        ("False", "PodUsingPVC", "A pod is currently referencing this PVC")
    } else {
        ("True", "NoPodsUsingPVC", "No pods are currently referencing this PVC")
    };
    let mut told = claim.status.clone().unwrap_or_default();
    let conditions = told.conditions.get_or_insert_default();
    let known = conditions.iter_mut().find(|c| c.type_ == UNUSED);
    if known.as_ref().is_some_and(|known| (known.status == "True") == (status == "True")) {
        return None;
    }
    let new = PersistentVolumeClaimCondition {
        type_: UNUSED.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(seconds(now)),
        ..PersistentVolumeClaimCondition::default()
    };
    match known {
        Some(known) => *known = new,
        None => conditions.push(new),
    }
    Some(Write::update_status(&PersistentVolumeClaim { status: Some(told), ..claim.clone() }))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::common::fixture::{body, decide, decide_view, objects};

    pub const CONVERGED: &str = "
kind: PersistentVolumeClaim
metadata: {name: data, finalizers: [kubernetes.io/pvc-protection]}
status: {phase: Bound, conditions: [{type: Unused, status: 'False'}]}
---
kind: Pod
metadata: {name: db}
spec: {nodeName: a, containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]}
status: {phase: Running}
";
    const UPDATE: &str = "update persistentvolumeclaims d/data";
    const STATUS: &str = "update persistentvolumeclaims/status d/data";

    fn lines(yaml: &str) -> Vec<String> {
        decide(&controller(), "d/data", yaml).lines()
    }

    fn leaving() -> String {
        CONVERGED.replace("name: data,", "name: data, deletionTimestamp: '2026-01-01T11:00:00Z',")
    }

    #[test]
    fn a_claim_goes_once_no_pod_on_a_node_uses_it() {
        assert!(lines(CONVERGED).is_empty());
        assert_eq!(lines(&CONVERGED.replace(", finalizers: [kubernetes.io/pvc-protection]", "")), [UPDATE]);
        assert!(lines(&leaving()).is_empty());
        for unused in [("claimName: data", "claimName: other"), ("nodeName: a, ", "")] {
            let plan = decide(&controller(), "d/data", &leaving().replace(unused.0, unused.1));
            assert_eq!(body(&plan, UPDATE)["metadata"]["finalizers"], json!([]), "{unused:?}");
        }
        let controller = controller();
        let view = controller.view_of(&objects(&leaving().replace("nodeName: a, ", ""))).with(UsedAfterAll);
        assert!(decide_view(&controller, "d/data", &view).is_converged(), "the server knows better");
    }

    #[test]
    fn a_claim_made_for_a_pod_does_not_wait_for_its_last_breath() {
        let yaml = "
kind: PersistentVolumeClaim
metadata: {name: db-v, deletionTimestamp: '2026-01-01T11:00:00Z', finalizers: [kubernetes.io/pvc-protection], ownerReferences: [{apiVersion: v1, kind: Pod, name: db, uid: db, controller: true}]}
---
kind: Pod
metadata: {name: db, deletionTimestamp: '2026-01-01T11:00:00Z', deletionGracePeriodSeconds: 30}
spec: {nodeName: a, containers: [], volumes: [{name: v, ephemeral: {}}]}
";
        assert!(decide(&controller(), "d/db-v", yaml).is_converged());
        let gone = yaml.replace("deletionGracePeriodSeconds: 30", "deletionGracePeriodSeconds: 0");
        assert_eq!(decide(&controller(), "d/db-v", &gone).lines(), ["update persistentvolumeclaims d/db-v"]);
    }

    #[test]
    fn a_bound_claim_tells_whether_it_is_used() {
        let plan = decide(&controller(), "d/data", &CONVERGED.replace("phase: Running", "phase: Succeeded"));
        let condition = &body(&plan, STATUS)["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("NoPodsUsingPVC")));
        assert!(lines(&CONVERGED.replace("phase: Bound", "phase: Pending").replace("'False'", "'True'")).is_empty());
    }
}
