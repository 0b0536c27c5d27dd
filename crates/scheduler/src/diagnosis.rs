//! Why no node was found, told as upstream tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::framework::Rejection;

/// What every node said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub nodes: usize,
    /// Reason texts with the number of nodes that gave them.
    pub reasons: BTreeMap<String, usize>,
    /// Names of the plugins that rejected some node.
    pub plugins: BTreeSet<&'static str>,
    /// Nodes where removing pods may help.
    pub resolvable: Vec<String>,
    /// Why no node was even looked at.
    pub verdict: String,
    /// What preemption had to say, empty when it was not tried.
    pub preemption: String,
}

impl Diagnosis {
    pub fn add(&mut self, node: &str, plugin: &'static str, rejection: &Rejection) {
        for reason in &rejection.reasons {
            *self.reasons.entry(reason.to_string()).or_default() += 1;
        }
        self.plugins.insert(plugin);
        if rejection.is_resolvable {
            self.resolvable.push(node.to_owned());
        }
    }

    /// No node will do, whichever it is.
    pub fn reject_all(&mut self, plugin: &'static str, rejection: &Rejection) {
        let reasons: Vec<String> = rejection.reasons.iter().map(ToString::to_string).collect();
        self.verdict = reasons.join(", ");
        self.plugins.insert(plugin);
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        if !self.verdict.is_empty() {
            write!(f, " {}.", self.verdict)?;
        }
        if !self.reasons.is_empty() {
            write!(f, " {}.", histogram(&self.reasons))?;
        }
        if !self.preemption.is_empty() {
            write!(f, " {}", self.preemption)?;
        }
        Ok(())
    }
}

/// `1 Insufficient cpu, 2 node(s) were unschedulable`, sorted as text.
pub fn histogram(reasons: &BTreeMap<String, usize>) -> String {
    let mut texts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}
