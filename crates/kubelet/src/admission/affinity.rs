//! Is this a node the pod asked for?

use std::collections::BTreeMap;

use super::{NodeView, Verdict, predicate};
use crate::corev1::{NodeSelectorRequirement, NodeSelectorTerm};
use crate::pod::spec::NodePod;

pub fn check(pod: &NodePod, node: &NodeView) -> Result<(), Verdict> {
    let spec = pod.spec();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| node.labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let matched = required.is_none_or(|r| r.node_selector_terms.iter().any(|term| fits(term, node)));
    if selected && matched {
        return Ok(());
    }
    Err(predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"))
}

/// All requirements of a term must hold; a term without any holds never.
fn fits(term: &NodeSelectorTerm, node: &NodeView) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let own: BTreeMap<String, String> = [("metadata.name".to_owned(), node.name.clone())].into();
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|r| holds(r, &node.labels))
        && fields.iter().all(|r| holds(r, &own))
}

fn holds(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = |wanted: std::cmp::Ordering| {
        let pair = value.and_then(|v| number(v)).zip(values.first().and_then(|v| number(v)));
        pair.is_some_and(|(have, bound)| have.cmp(&bound) == wanted)
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|v| values.contains(v)),
        "NotIn" => value.is_none_or(|v| !values.contains(v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(std::cmp::Ordering::Greater),
        "Lt" => compared(std::cmp::Ordering::Less),
        _ => false,
    }
}
