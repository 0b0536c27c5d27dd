//! Authorization: who may do what.
//!
//! The chain is upstream's: members of `system:masters` may do everything, then the [`node`]
//! authorizer has its say about kubelets, then [`rbac`] about everybody. Nobody says no, so what
//! nobody allows is forbidden; the reasons of those who had none to allow are told in the answer.
//!
//! Both authorizers keep their view of the cluster by following the store ([`follow`]): a
//! decision never rests on a state older than the request.

pub mod aggregation;
pub mod bootstrap;
mod escalation;
mod follow;
pub mod node;
mod node_restriction;
pub mod rbac;
pub mod rule;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_client::transport::UserInfo;
use orlop_store::Store;

use crate::auth::{Authorizer, Decision};
use crate::request::RequestInfo;

pub use escalation::{Escalation, changes_only_gc_fields};
pub use node_restriction::NodeRestriction;
use rule::Rule;

/// Whose members may do everything, whatever the stored policy says.
pub const MASTERS: &str = "system:masters";

/// The whole chain.
#[derive(Clone)]
pub struct Authorization {
    node: Arc<node::NodeAuthorizer>,
    rbac: Arc<rbac::Rbac>,
}

/// What a user may do in a namespace, as far as it can be listed.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub rules: Vec<Rule>,
    /// Some of what the user may do cannot be listed.
    pub incomplete: bool,
    pub errors: Vec<String>,
}

impl Authorization {
    pub fn new(store: &Store) -> Self {
        Self { node: Arc::new(node::NodeAuthorizer::new(store)), rbac: Arc::new(rbac::Rbac::new(store)) }
    }

    pub fn rbac(&self) -> &Arc<rbac::Rbac> {
        &self.rbac
    }

    pub fn decide(&self, user: &UserInfo, request: &RequestInfo) -> Decision {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Decision::Allow { reason: String::new() };
        }
        let mut reasons = Vec::new();
        for (name, decision) in [
            ("node", &(|| self.node.decide(user, request)) as &dyn Fn() -> Decision),
            ("rbac", &|| self.rbac.decide(user, request)),
        ] {
            match decision() {
                Decision::NoOpinion { reason } if reason.is_empty() => {}
                Decision::NoOpinion { reason } => reasons.push(format!("{name}: {reason}")),
                decided => return decided,
            }
        }
        Decision::NoOpinion { reason: reasons.join("\n") }
    }

    /// For SelfSubjectRulesReview. Privilege by group is not listed, as upstream's is not.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Listing {
        let (rules, mut errors) = self.rbac.rules_for(user, namespace);
        let incomplete = node::node_name(user).is_some();
        if incomplete {
            errors.insert(0, "node authorizer does not support user rule resolution".into());
        }
        Listing { rules, incomplete, errors }
    }
}

impl Authorizer for Authorization {
    fn authorize<'a>(&'a self, user: &'a UserInfo, request: &'a RequestInfo) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready(self.decide(user, request)))
    }
}

#[cfg(test)]
mod tests;
