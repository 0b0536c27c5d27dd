//! A set's pods: how one is made, and which node it is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration,
};
use orlop_api::typed::kinds::{DaemonSet, Pod};
use orlop_client::engine::{Note, Write};

use super::revision;
use crate::common::pods::{self, from_template, node_name};

pub const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// Conditions of nodes that keep other pods away.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The number of the template, as sets of old counted.
pub fn generation(set: &DaemonSet) -> Option<&str> {
    set.metadata.annotations.as_ref()?.get(GENERATION).map(String::as_str).filter(|text| text.parse::<i64>().is_ok())
}

/// A daemon runs on a node that is in trouble.
pub fn with_tolerations(spec: &mut PodSpec) {
    let network = spec.host_network.unwrap_or(false).then_some(NETWORK_UNAVAILABLE);
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let all = spec.tolerations.get_or_insert_default();
        let same = |t: &&mut Toleration| {
            (&t.key, &t.operator, &t.effect) == (&toleration.key, &toleration.operator, &toleration.effect)
                && t.value.as_deref().unwrap_or("").is_empty()
        };
        match all.iter_mut().find(same) {
            Some(known) => *known = toleration,
            None => all.push(toleration),
        }
    }
}

/// A pod for this node. The scheduler binds it, as any other; its affinity leaves it no choice.
pub fn create(set: &DaemonSet, hash: &str, node: &str) -> Write {
    let mut pod = from_template(set, &set.spec.template);
    pod.metadata.generate_name = Some(format!("{}-", Typed::name(set)));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.extend(generation(set).map(|number| (GENERATION_LABEL.to_owned(), number.to_owned())));
    labels.insert(revision::HASH_LABEL.to_owned(), hash.to_owned());
    let spec = pod.spec.get_or_insert_default();
    with_tolerations(spec);
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![named(node)] });
    Write::create(&pod).done(Note::normal(set, "SuccessfulCreate", "Created pod: {name}")).failed(Note::warning(
        set,
        "FailedCreate",
        "Error creating: {error}",
    ))
}

pub fn delete(set: &DaemonSet, pod: &Pod) -> Write {
    Write::delete(pod).done(Note::normal(set, "SuccessfulDelete", "Deleted pod: {name}")).failed(Note::warning(
        set,
        "FailedDelete",
        "Error deleting: {error}",
    ))
}

fn named(node: &str) -> NodeSelectorTerm {
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    NodeSelectorTerm { match_fields: Some(vec![requirement]), match_expressions: None }
}

/// The node a pod is bound to, or the only one its affinity names.
fn target(pod: &Pod) -> Option<&str> {
    if let Some(node) = node_name(pod) {
        return Some(node);
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let mut names = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
    match names.next()?.values.as_deref() {
        Some([node]) => Some(node),
        _ => None,
    }
}

/// Pods by their node, bound ones first, then the oldest. Left out are those that are at their end and
/// about to be removed: nothing is left to do about them.
pub fn by_node<'a>(mine: &[&'a Arc<Pod>]) -> BTreeMap<String, Vec<&'a Pod>> {
    let mut nodes = BTreeMap::<String, Vec<&Pod>>::new();
    for pod in mine.iter().filter(|pod| !(pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_some())) {
        if let Some(node) = target(pod) {
            nodes.entry(node.to_owned()).or_default().push(pod);
        }
    }
    for pods in nodes.values_mut() {
        pods.sort_by_key(|pod| {
            (node_name(pod).is_none(), pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone())
        });
    }
    nodes
}
