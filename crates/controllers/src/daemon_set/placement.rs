//! Which nodes are fit for a set's pods.

use orlop_api::node_selector::Term;
use orlop_api::pods::tolerates;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{PodSpec, Taint, Toleration};
use orlop_api::typed::kinds::{DaemonSet, Node};

use super::pod::with_tolerations;

/// What of a template decides where it may run, worked out once for all nodes.
pub struct Placement {
    spec: PodSpec,
    terms: Option<Vec<Term>>,
}

/// What a node is to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitness {
    /// A pod should be there.
    pub should_run: bool,
    /// One that is there may stay.
    pub may_stay: bool,
}

impl Fitness {
    const NONE: Self = Self { should_run: false, may_stay: false };
}

impl Placement {
    pub fn of(set: &DaemonSet) -> Self {
        let mut spec = set.spec.template.spec.clone().unwrap_or_default();
        with_tolerations(&mut spec);
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(|r| r.node_selector_terms.iter().map(Term::compile).collect());
        Self { spec, terms }
    }

    pub fn fitness(&self, node: &Node) -> Fitness {
        let named = self.spec.node_name.as_deref().filter(|name| !name.is_empty());
        if named.is_some_and(|name| name != Typed::name(node)) || !self.selects(node) {
            return Fitness::NONE;
        }
        let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
        let repelled = |effects: &[&str]| {
            taints.iter().filter(|t| effects.contains(&t.effect.as_str())).any(|taint| !self.tolerates(taint))
        };
        Fitness { should_run: !repelled(&["NoSchedule", "NoExecute"]), may_stay: !repelled(&["NoExecute"]) }
    }

    fn selects(&self, node: &Node) -> bool {
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let selected = self.spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
        let matches = |terms: &Vec<Term>| terms.iter().any(|term| term.matches(Typed::name(node), &labels));
        selected && self.terms.as_ref().is_none_or(matches)
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        let tolerations: &[Toleration] = self.spec.tolerations.as_deref().unwrap_or_default();
        tolerations.iter().any(|toleration| tolerates(toleration, taint))
    }
}
