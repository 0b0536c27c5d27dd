//! Authorization: who may do what.
//!
//! Members of `system:masters` may do everything; then a chain is asked, in the order it was configured
//! in (by default the [`node`] authorizer about kubelets, then [`rbac`] about everybody). The first that
//! allows or denies has decided; what nobody allows is forbidden, and the reasons of those who had none
//! to allow are told in the answer.
//!
//! Node and RBAC keep their view of the cluster by following the store ([`follow`]): a decision never
//! rests on a state older than the request.

pub mod abac;
pub mod aggregation;
pub mod bootstrap;
mod chain;
mod claim_status;
pub mod config;
mod escalation;
mod follow;
pub mod metrics;
pub mod node;
mod node_restriction;
pub mod rbac;
mod reload;
pub mod rule;
pub mod webhook;

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use orlop_client::transport::UserInfo;
use orlop_store::Store;

use crate::auth::{Authorizer, Decision};
use crate::request::RequestInfo;

pub use chain::{Link, Mode};
pub use claim_status::ClaimStatus;
pub use escalation::{Escalation, changes_only_gc_fields};
pub use node_restriction::NodeRestriction;
pub use reload::Reload;
use rule::Rule;

/// Whose members may do everything, whatever the stored policy says.
pub const MASTERS: &str = "system:masters";

/// The whole chain.
#[derive(Clone)]
pub struct Authorization {
    node: Arc<node::NodeAuthorizer>,
    rbac: Arc<rbac::Rbac>,
    chain: Arc<ArcSwap<Vec<Link>>>,
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
    /// Node and RBAC.
    pub fn new(store: &Store) -> Self {
        Self::with_chain(store, vec![Link::of(Mode::Node), Link::of(Mode::Rbac)])
    }

    pub fn with_chain(store: &Store, chain: Vec<Link>) -> Self {
        Self {
            node: Arc::new(node::NodeAuthorizer::new(store)),
            rbac: Arc::new(rbac::Rbac::new(store)),
            chain: Arc::new(ArcSwap::from_pointee(chain)),
        }
    }

    /// Requests that come from now on are decided by this chain.
    pub fn set_chain(&self, chain: Vec<Link>) {
        self.chain.store(Arc::new(chain));
    }

    pub fn rbac(&self) -> &Arc<rbac::Rbac> {
        &self.rbac
    }

    pub async fn decide(&self, user: &UserInfo, request: &RequestInfo) -> Decision {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Decision::Allow { reason: String::new() };
        }
        let chain = self.chain.load_full();
        let (mut reasons, mut errors) = (Vec::new(), Vec::new());
        for link in &*chain {
            let Link { name, mode } = link;
            let decision = self.ask(link, user, request).await;
            metrics::METRICS.decided(mode.name(), name, &decision);
            let reason = match decision {
                Decision::NoOpinion { reason } => reason,
                Decision::Failed { denied: false, reason, error } => {
                    errors.push(error);
                    reason
                }
                decided => return decided,
            };
            if !reason.is_empty() {
                reasons.push(format!("{name}: {reason}"));
            }
        }
        let reason = reasons.join("\n");
        if errors.is_empty() {
            Decision::NoOpinion { reason }
        } else {
            Decision::Failed { denied: false, reason, error: rbac::aggregate(&errors) }
        }
    }

    async fn ask(&self, link: &Link, user: &UserInfo, request: &RequestInfo) -> Decision {
        match &link.mode {
            Mode::AlwaysAllow => Decision::Allow { reason: String::new() },
            Mode::AlwaysDeny => Decision::NoOpinion { reason: "Everything is forbidden.".into() },
            Mode::Abac(policies) => policies.decide(user, request),
            Mode::Node => self.node.decide(user, request),
            Mode::Rbac => self.rbac.decide(user, request),
            Mode::Webhook(webhook) => webhook.decide(&link.name, user, request).await,
        }
    }

    /// For SelfSubjectRulesReview. Privilege by group is not listed, as upstream's is not.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Listing {
        let mut all = Listing::default();
        for Link { mode, .. } in &**self.chain.load() {
            let found = self.list(mode, user, namespace);
            all.rules.extend(found.rules);
            all.incomplete |= found.incomplete;
            all.errors.extend(found.errors);
        }
        all
    }

    fn list(&self, mode: &Mode, user: &UserInfo, namespace: &str) -> Listing {
        let unlisted = |why: &str| Listing { incomplete: true, errors: vec![why.to_owned()], ..Listing::default() };
        match mode {
            Mode::AlwaysAllow => Listing { rules: Rule::full_authority().to_vec(), ..Listing::default() },
            Mode::Abac(policies) => Listing { rules: policies.rules_for(user, namespace), ..Listing::default() },
            Mode::Rbac => {
                let (rules, errors) = self.rbac.rules_for(user, namespace);
                Listing { rules, errors, incomplete: false }
            }
            Mode::Node if node::node_name(user).is_some() => {
                unlisted("node authorizer does not support user rule resolution")
            }
            Mode::Webhook(_) => unlisted("webhook authorizer does not support user rule resolution"),
            Mode::AlwaysDeny | Mode::Node => Listing::default(),
        }
    }
}

impl Authorizer for Authorization {
    fn authorize<'a>(&'a self, user: &'a UserInfo, request: &'a RequestInfo) -> BoxFuture<'a, Decision> {
        Box::pin(self.decide(user, request))
    }
}

#[cfg(test)]
mod tests;
