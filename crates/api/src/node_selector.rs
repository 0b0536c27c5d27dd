//! Node selectors (`v1.NodeSelectorTerm`), compiled once for many nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

/// A term: all requirements must hold. A term without any matches nothing.
#[derive(Clone, Debug)]
pub struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// Not one of Kubernetes': never matches.
    Unknown,
}

impl Term {
    pub fn compile(term: &NodeSelectorTerm) -> Self {
        let all =
            |list: &Option<Vec<NodeSelectorRequirement>>| list.iter().flatten().map(Requirement::compile).collect();
        Self { labels: all(&term.match_expressions), fields: all(&term.match_fields) }
    }

    pub fn matches(&self, node_name: &str, labels: &BTreeMap<String, String>) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        let field = |r: &Requirement| r.holds(if r.key == "metadata.name" { Some(node_name) } else { None });
        self.labels.iter().all(|r| r.holds(labels.get(&r.key).map(String::as_str))) && self.fields.iter().all(field)
    }

    /// The node names this term can match at all, when it says so (`metadata.name In [...]`).
    pub fn named_nodes(&self) -> Option<&[String]> {
        let by_name = self.fields.iter().find(|r| r.key == "metadata.name" && matches!(r.operator, Operator::In));
        by_name.map(|r| r.values.as_slice())
    }
}

impl Requirement {
    fn compile(requirement: &NodeSelectorRequirement) -> Self {
        let operator = match requirement.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            _ => Operator::Unknown,
        };
        Self { key: requirement.key.clone(), operator, values: requirement.values.clone().unwrap_or_default() }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|v| self.values.iter().any(|wanted| wanted == v));
        let compared = |holds: fn(i64, i64) -> bool| {
            let limit = self.values.first().and_then(|v| v.parse().ok());
            matches!((value.and_then(|v| v.parse().ok()), limit), (Some(value), Some(limit)) if holds(value, limit))
        };
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compared(|value, limit| value > limit),
            Operator::Lt => compared(|value, limit| value < limit),
            Operator::Unknown => false,
        }
    }
}
