//! ClusterRoles that gather the rules of others (`pkg/controller/clusterroleaggregation`).

use std::collections::BTreeMap;

use orlop_api::Value;
use orlop_api::selector::Selector;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use orlop_client::{Client, Dynamic, Resource};
use orlop_store::{Store, StoreError};
use serde_json::json;

use super::follow::{Fold, Follower};
use super::rule::Rule;

const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";

/// The field manager, and the name of the identity the client must have.
pub const NAME: &str = "clusterrole-aggregation-controller";

/// All ClusterRoles by name.
#[derive(Default)]
pub struct ClusterRoles(BTreeMap<String, Value>);

impl Fold for ClusterRoles {
    const RESOURCES: &'static [&'static str] = &[CLUSTER_ROLES];

    fn apply(&mut self, _resource: &str, _namespace: &str, name: &str, object: Option<&Value>) {
        match object {
            Some(role) => drop(self.0.insert(name.to_owned(), role.clone())),
            None => drop(self.0.remove(name)),
        }
    }
}

impl ClusterRoles {
    /// The roles whose rules are not what they gather, with what they should be.
    pub fn stale(&self) -> Vec<(String, Vec<Rule>)> {
        let gathering = self.0.iter().filter(|(_, role)| role["aggregationRule"].is_object());
        let wanted = gathering.filter_map(|(name, role)| Some((name, role, self.gather(name, role)?)));
        wanted
            .filter(|(_, role, rules)| Rule::list(role) != *rules)
            .map(|(name, _, rules)| (name.clone(), rules))
            .collect()
    }

    /// `None` for a selector that validation should not have let in.
    fn gather(&self, own_name: &str, role: &Value) -> Option<Vec<Rule>> {
        let mut rules: Vec<Rule> = Vec::new();
        for selector in role["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten() {
            let selector: LabelSelector = serde_json::from_value(selector.clone()).ok()?;
            let selector = Selector::from_typed(&selector).ok()?;
            for (_, other) in self.0.iter().filter(|(name, _)| *name != own_name) {
                if !selector.matches_object(other) {
                    continue;
                }
                for rule in Rule::list(other) {
                    if !rules.contains(&rule) {
                        rules.push(rule);
                    }
                }
            }
        }
        Some(rules)
    }
}

/// Keeps gathered rules current, for as long as it is polled. Each pass may make others stale
/// (admin gathers edit, which gathers view); it ends when none is.
pub async fn run(store: &Store, client: &Client) -> Result<(), StoreError> {
    let roles = Follower::<ClusterRoles>::new(store);
    let mut changes = store.watch(CLUSTER_ROLES, None, store.revision())?;
    loop {
        settle(&roles, client).await;
        changes.next().await?;
    }
}

async fn settle(roles: &Follower<ClusterRoles>, client: &Client) {
    loop {
        let stale = roles.read().stale();
        if stale.is_empty() {
            return;
        }
        for (name, rules) in stale {
            if let Err(error) = apply(client, &name, &rules).await {
                // Somebody else's write, or none at all: the next change tries again.
                tracing::warn!(role = name, error = %orlop_base::error::chain(&error), "aggregating rules failed");
                return;
            }
        }
    }
}

async fn apply(client: &Client, name: &str, rules: &[Rule]) -> Result<(), orlop_client::Error> {
    let rules: Vec<Value> = rules.iter().map(Rule::to_value).collect();
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name }, "rules": rules,
    });
    let resource = Resource {
        group: "rbac.authorization.k8s.io".into(),
        version: "v1".into(),
        plural: "clusterroles".into(),
        kind: "ClusterRole".into(),
        namespaced: false,
    };
    client.dynamic(&resource, "").apply(name, object, NAME, true).await.map(|_: Dynamic| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_api::meta;

    fn roles(objects: &[Value]) -> ClusterRoles {
        let mut roles = ClusterRoles::default();
        for object in objects {
            roles.apply(CLUSTER_ROLES, "", meta::name(object), Some(object));
        }
        roles
    }

    #[test]
    fn the_default_policy_settles_in_three_passes() {
        let mut policy = super::super::bootstrap::objects();
        policy.retain(|object| object["kind"] == "ClusterRole");
        let mut roles = roles(&policy);
        let mut passes = 0;
        loop {
            let stale = roles.stale();
            if stale.is_empty() {
                break;
            }
            passes += 1;
            for (name, rules) in stale {
                let rules: Vec<Value> = rules.iter().map(Rule::to_value).collect();
                roles.0.get_mut(&name).expect("it is there")["rules"] = json!(rules);
            }
        }
        assert_eq!(passes, 3, "view, then edit, then admin");
        let admin = Rule::list(&roles.0["admin"]);
        let view = Rule::list(&roles.0["system:aggregate-to-view"]);
        assert!(super::super::rule::missing(&admin, &view).is_empty());
    }
}
