//! Terms of pod affinity and anti-affinity, compiled once per pod.

use std::collections::BTreeSet;

use orlop_api::selector::Selector;
use orlop_api::typed::k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec, WeightedPodAffinityTerm};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use orlop_api::typed::kinds::Namespace;
use orlop_client::cache::Snapshot as Objects;

use crate::kin::Kin;

/// Which pods are meant, and what "near" them is.
#[derive(Clone, Debug)]
pub struct Term {
    selector: Selector,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    pub topology_key: String,
}

/// A pod's wishes about other pods.
#[derive(Clone, Debug, Default)]
pub struct Affinity {
    pub required: Vec<Term>,
    pub required_anti: Vec<Term>,
    pub preferred: Vec<(i64, Term)>,
    pub preferred_anti: Vec<(i64, Term)>,
}

impl Affinity {
    pub fn of(spec: &PodSpec, namespace: &str) -> Self {
        let affinity = spec.affinity.as_ref();
        let (near, apart) =
            (affinity.and_then(|a| a.pod_affinity.as_ref()), affinity.and_then(|a| a.pod_anti_affinity.as_ref()));
        let all = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
            terms.into_iter().flatten().map(|term| Term::compile(term, namespace)).collect()
        };
        let weighted = |terms: Option<&Vec<WeightedPodAffinityTerm>>| -> Vec<(i64, Term)> {
            let terms = terms.into_iter().flatten();
            terms.map(|w| (i64::from(w.weight), Term::compile(&w.pod_affinity_term, namespace))).collect()
        };
        Self {
            required: all(near.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref())),
            required_anti: all(apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred: weighted(near.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref())),
            preferred_anti: weighted(
                apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
        }
    }
}

impl Term {
    fn compile(term: &PodAffinityTerm, own_namespace: &str) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(own_namespace.to_owned());
        }
        Self {
            selector: selector(term.label_selector.as_ref()),
            namespaces,
            namespace_selector: term.namespace_selector.as_ref().map(|s| selector(Some(s))),
            topology_key: term.topology_key.clone(),
        }
    }

    pub fn matches(&self, pod: &Kin, namespaces: &Objects<Namespace>) -> bool {
        let namespace = pod.namespace();
        let selected = || {
            let Some(selector) = &self.namespace_selector else { return false };
            let labels = namespaces.get("", namespace).and_then(|n| n.metadata.labels.as_ref());
            selector.matches_opt(labels)
        };
        (self.namespaces.contains(namespace) || selected()) && self.selector.matches_opt(pod.labels())
    }
}

/// None at all matches nothing; an empty one everything.
pub fn selector(selector: Option<&LabelSelector>) -> Selector {
    selector.and_then(|s| Selector::from_typed(s).ok()).unwrap_or_else(Selector::nothing)
}
