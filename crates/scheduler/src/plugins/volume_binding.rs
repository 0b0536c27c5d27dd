//! VolumeBinding: a pod runs where its volumes are. A claim that waits for its first pod gets a volume
//! that can be reached from the node that is chosen.

use std::collections::BTreeSet;

use orlop_api::node_selector::Term;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use orlop_api::typed::kinds::{PersistentVolumeClaim, StorageClass};
use orlop_api::volumes::{self, Place};

use crate::cycle::Cycle;
use crate::framework::{Plugin, Reason, Rejection, Wake};
use crate::node::NodeInfo;

pub static PLUGIN: Plugin = Plugin {
    name: "VolumeBinding",
    pre_filter: Some(pre_filter),
    filter: Some(filter),
    wakes_on: &[Wake::NodeAdded, Wake::NodeLabelsChanged, Wake::StorageChanged],
    ..Plugin::NONE
};

/// What is to be done for a claim once the pod's node is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Bind it to this volume.
    Bind { claim: String, volume: String },
    /// Ask for a volume that can be reached from the node.
    Provision { claim: String },
}

fn claims<'a>(cycle: &'a Cycle) -> impl Iterator<Item = (&'a String, Option<&'a PersistentVolumeClaim>)> {
    let namespace = cycle.pod.pod.namespace();
    cycle.pod.claims.iter().map(move |name| (name, cycle.listed.claims.get(namespace, name).map(|claim| &**claim)))
}

fn class<'a>(cycle: &'a Cycle, claim: &PersistentVolumeClaim) -> Option<&'a StorageClass> {
    cycle.listed.classes.get("", volumes::class_of_claim(claim)).map(|class| &**class)
}

/// Bound no earlier than its first pod is scheduled.
fn waits_for_pod(cycle: &Cycle, claim: &PersistentVolumeClaim) -> bool {
    let mode = class(cycle, claim).and_then(|class| class.volume_binding_mode.as_deref());
    mode == Some("WaitForFirstConsumer") && volumes::volume_name(claim).is_empty()
}

fn pre_filter(cycle: &Cycle) -> Result<(), Rejection> {
    for (name, claim) in claims(cycle) {
        let Some(claim) = claim else { return Err(Rejection::final_(Reason::ClaimNotFound(name.clone()))) };
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(Rejection::final_(Reason::ClaimTerminating(name.clone())));
        }
        if claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Lost") {
            let volume = volumes::volume_name(claim).to_owned();
            return Err(Rejection::final_(Reason::ClaimLost { claim: name.clone(), volume }));
        }
        if cycle.pod.is_ephemeral_claim(name) && !is_made_for(cycle, claim) {
            return Err(Rejection::final_(Reason::ClaimOfAnother(name.clone())));
        }
    }
    let mut unbound = claims(cycle).filter_map(|(_, claim)| claim).filter(|claim| !volumes::is_fully_bound(claim));
    if unbound.any(|claim| !waits_for_pod(cycle, claim)) {
        return Err(Rejection::final_(Reason::UnboundClaims));
    }
    Ok(())
}

fn is_made_for(cycle: &Cycle, claim: &PersistentVolumeClaim) -> bool {
    claim.metadata.owner_references.iter().flatten().any(|o| o.controller == Some(true) && o.uid == cycle.pod.uid)
}

fn filter(cycle: &Cycle, node: &NodeInfo) -> Result<(), Rejection> {
    let bound = claims(cycle).filter_map(|(_, claim)| claim).filter(|claim| volumes::is_fully_bound(claim));
    for claim in bound {
        let Some(volume) = cycle.listed.volumes.get("", volumes::volume_name(claim)) else {
            return Err(Rejection::final_(Reason::VolumeMissing));
        };
        if !volumes::is_reachable(volume, &node.name, node.labels()) {
            return Err(Rejection::final_(Reason::VolumeNodeAffinity));
        }
    }
    choose(cycle, node).map(drop)
}

/// Volumes for the claims that wait for this pod, if it comes to `node`.
pub fn choose(cycle: &Cycle, node: &NodeInfo) -> Result<Vec<Choice>, Rejection> {
    let place = Place { node: &node.name, labels: node.labels() };
    let (mut choices, mut taken) = (Vec::new(), BTreeSet::new());
    let waiting = claims(cycle).filter_map(|(_, claim)| claim).filter(|claim| !volumes::is_fully_bound(claim));
    for claim in waiting {
        let key = format!("{}/{}", Typed::namespace(claim), Typed::name(claim));
        let is_taken = |volume: &orlop_api::typed::kinds::PersistentVolume| {
            let name = Typed::name(volume);
            taken.contains(name) || cycle.listed.assumed.get(name).is_some_and(|holder| *holder != key)
        };
        let all = cycle.listed.volumes.iter().map(|volume| &**volume);
        let claim_name = Typed::name(claim).to_owned();
        match volumes::best(claim, all, Some(place), is_taken) {
            Some(volume) => {
                let volume = Typed::name(volume).to_owned();
                choices.push(Choice::Bind { claim: claim_name, volume: volume.clone() });
                taken.insert(volume);
            }
            None if is_provisioned(cycle, claim, node) => choices.push(Choice::Provision { claim: claim_name }),
            None => return Err(Rejection::final_(Reason::NoVolumeToBind)),
        }
    }
    Ok(choices)
}

/// Somebody makes volumes of the claim's class, and may make one for this node.
fn is_provisioned(cycle: &Cycle, claim: &PersistentVolumeClaim, node: &NodeInfo) -> bool {
    let Some(class) = class(cycle, claim) else { return false };
    if class.provisioner.is_empty() || class.provisioner == volumes::NO_PROVISIONER {
        return false;
    }
    let chosen = claim.metadata.annotations.as_ref().and_then(|a| a.get(volumes::SELECTED_NODE));
    if chosen.is_some_and(|chosen| *chosen != node.name) {
        return false;
    }
    let allowed = class.allowed_topologies.as_deref().unwrap_or_default();
    allowed.is_empty()
        || allowed.iter().any(|term| {
            let requirement = |e: &orlop_api::typed::k8s_openapi::api::core::v1::TopologySelectorLabelRequirement| {
                NodeSelectorRequirement { key: e.key.clone(), operator: "In".into(), values: Some(e.values.clone()) }
            };
            let expressions = term.match_label_expressions.iter().flatten().map(requirement).collect();
            let term = NodeSelectorTerm { match_expressions: Some(expressions), match_fields: None };
            Term::compile(&term).matches(&node.name, node.labels())
        })
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::Typed;
    use orlop_api::typed::kinds::PersistentVolume;
    use orlop_client::cache::Snapshot as Objects;
    use serde_json::{Value, json};

    use super::*;
    use crate::cycle::Listed;
    use crate::plugins::PLUGINS;
    use crate::schedule::{Decision, schedule};
    use crate::testing::{cluster, node, pod_info};

    fn listed(claim: Value, volumes: &[Value], mode: &str) -> Listed {
        let mut object = json!({"metadata": {"name": "data", "namespace": "d", "uid": "data"},
            "spec": {"storageClassName": "c", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        for (field, value) in claim.as_object().unwrap() {
            match object[field].as_object_mut() {
                Some(map) => map.extend(value.as_object().unwrap().clone()),
                None => object[field] = value.clone(),
            }
        }
        let class =
            json!({"metadata": {"name": "c"}, "provisioner": volumes::NO_PROVISIONER, "volumeBindingMode": mode});
        let decode = |value: &Value| PersistentVolume::decode(value.to_string().as_bytes()).unwrap();
        Listed {
            claims: Objects::of([PersistentVolumeClaim::decode(object.to_string().as_bytes()).unwrap()], &[]),
            volumes: Objects::of(volumes.iter().map(decode), &[]),
            classes: Objects::of([StorageClass::decode(class.to_string().as_bytes()).unwrap()], &[]),
            ..Listed::default()
        }
    }

    fn local(name: &str, node: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {"phase": "Available"}, "spec": {"storageClassName": "c",
            "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
    }

    fn decide(listed: &Listed) -> (Decision, Vec<Choice>) {
        let pod = pod_info(json!({"metadata": {"uid": "p", "name": "p", "namespace": "d"},
            "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}}));
        let cluster = cluster(&[node("a", json!({})), node("b", json!({}))]);
        let cycle = Cycle::new(&pod, &cluster, listed);
        let decision = schedule(&cycle, PLUGINS, &mut 0, &mut fastrand::Rng::with_seed(1));
        let choices = match &decision {
            Decision::Bind { node } => choose(&cycle, cluster.node(node).unwrap()).unwrap(),
            Decision::Unfit(_) => Vec::new(),
        };
        (decision, choices)
    }

    fn why(listed: &Listed) -> String {
        match decide(listed).0 {
            Decision::Unfit(diagnosis) => diagnosis.to_string(),
            Decision::Bind { node } => panic!("bound to {node}"),
        }
    }

    #[test]
    fn a_claim_is_bound_before_its_pod_or_with_it() {
        let immediate = listed(json!({}), &[local("v", "a")], "Immediate");
        assert_eq!(why(&immediate), "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
        let waiting = listed(json!({}), &[local("v", "b")], "WaitForFirstConsumer");
        let chosen = vec![Choice::Bind { claim: "data".into(), volume: "v".into() }];
        assert_eq!(decide(&waiting), (Decision::Bind { node: "b".into() }, chosen));
        let mut spoken_for = waiting;
        spoken_for.assumed.insert("v".into(), "d/other".into());
        assert_eq!(
            why(&spoken_for),
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
        );
    }

    #[test]
    fn a_bound_volume_says_where_the_pod_runs() {
        let bound = json!({"metadata": {"annotations": {volumes::BIND_COMPLETED: "yes"}}, "spec": {"volumeName": "v"}});
        assert_eq!(
            decide(&listed(bound.clone(), &[local("v", "b")], "Immediate")).0,
            Decision::Bind { node: "b".into() }
        );
        let elsewhere = listed(bound.clone(), &[local("v", "z")], "Immediate");
        assert_eq!(
            why(&elsewhere),
            "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity."
        );
        let gone = listed(bound, &[], "Immediate");
        assert!(why(&gone).contains("2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"));
    }

    #[test]
    fn claims_that_are_not_there_hold_the_pod_back() {
        let mut none = listed(json!({}), &[], "Immediate");
        none.claims = Objects::of([], &[]);
        assert_eq!(why(&none), "0/2 nodes are available: persistentvolumeclaim \"data\" not found.");
        let leaving = listed(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), &[], "Immediate");
        assert_eq!(why(&leaving), "0/2 nodes are available: persistentvolumeclaim \"data\" is being deleted.");
    }
}
