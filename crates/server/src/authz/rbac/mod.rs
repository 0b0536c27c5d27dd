//! RBAC: rules of roles, given to subjects by bindings.
//!
//! Bindings are indexed by subject, so a decision costs what the user's own bindings cost, however
//! many others the cluster has.

mod bindings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orlop_api::Value;
use orlop_client::transport::UserInfo;
use orlop_store::Store;

use bindings::{Binding, Bindings, Subject};

use super::follow::{Fold, Follower};
use super::rule::Rule;
use crate::auth::Decision;
use crate::request::RequestInfo;

/// The live policy.
pub struct Rbac(Follower<Policy>);

impl Rbac {
    pub fn new(store: &Store) -> Self {
        Self(Follower::new(store))
    }

    pub fn decide(&self, user: &UserInfo, request: &RequestInfo) -> Decision {
        self.0.read().decide(user, request)
    }

    /// All rules a user has in a namespace (cluster-wide ones for the empty namespace), and what
    /// went wrong collecting them.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        self.0.read().rules_for(user, namespace)
    }

    /// The rules a role reference stands for in a binding of that namespace.
    pub fn role_rules(&self, role: &RoleRef, namespace: &str) -> Result<Vec<Rule>, String> {
        self.0.read().role_rules(role, namespace).map(<[Rule]>::to_vec)
    }
}

/// What a binding refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleRef {
    pub group: String,
    pub kind: String,
    pub name: String,
}

impl RoleRef {
    pub fn of(binding: &Value) -> Self {
        let text = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default().to_owned();
        Self { group: text("apiGroup"), kind: text("kind"), name: text("name") }
    }
}

const ROLES: &str = "rbac.authorization.k8s.io/roles";
const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
const ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";
const CLUSTER_ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/clusterrolebindings";

/// All roles and bindings.
#[derive(Debug, Default)]
pub struct Policy {
    cluster_roles: BTreeMap<String, Arc<[Rule]>>,
    /// By namespace and name.
    roles: BTreeMap<String, BTreeMap<String, Arc<[Rule]>>>,
    /// By namespace; cluster role bindings under the empty one.
    bindings: BTreeMap<String, Bindings>,
}

impl Fold for Policy {
    const RESOURCES: &'static [&'static str] = &[ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS];

    fn apply(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        match resource {
            CLUSTER_ROLES => put(&mut self.cluster_roles, name, object.map(|role| Rule::list(role).into())),
            ROLES => {
                let roles = self.roles.entry(namespace.to_owned()).or_default();
                put(roles, name, object.map(|role| Rule::list(role).into()));
                if roles.is_empty() {
                    self.roles.remove(namespace);
                }
            }
            _ => {
                let bindings = self.bindings.entry(namespace.to_owned()).or_default();
                bindings.set(name, object.map(|binding| Binding::of(binding, namespace)));
                if bindings.by_name.is_empty() {
                    self.bindings.remove(namespace);
                }
            }
        }
    }
}

fn put<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
}

impl Policy {
    pub fn decide(&self, user: &UserInfo, request: &RequestInfo) -> Decision {
        let mut errors = Vec::new();
        for grant in self.grants(user, &request.namespace) {
            match self.role_rules(&grant.binding.role, grant.namespace) {
                Ok(rules) if rules.iter().any(|rule| rule.allows(request)) => {
                    return Decision::Allow { reason: format!("RBAC: allowed by {grant}") };
                }
                Ok(_) => {}
                Err(error) => note(&mut errors, error),
            }
        }
        let reason = if errors.is_empty() { String::new() } else { format!("RBAC: {}", aggregate(&errors)) };
        Decision::NoOpinion { reason }
    }

    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        let mut met = BTreeSet::new();
        for grant in self.grants(user, namespace) {
            if !met.insert((grant.namespace, grant.name)) {
                continue;
            }
            match self.role_rules(&grant.binding.role, grant.namespace) {
                Ok(found) => rules.extend_from_slice(found),
                Err(error) => note(&mut errors, error),
            }
        }
        (rules, errors)
    }

    fn role_rules(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], String> {
        let found = match &*role.kind {
            "ClusterRole" => self.cluster_roles.get(&role.name),
            "Role" => self.roles.get(namespace).and_then(|roles| roles.get(&role.name)),
            other => return Err(format!("unsupported role reference kind: {other:?}")),
        };
        // Singular, as client-go's listers say it.
        let kind = role.kind.to_lowercase();
        let found = found.map(|rules| &**rules);
        found.ok_or_else(|| format!("{kind}.rbac.authorization.k8s.io {:?} not found", role.name))
    }

    /// Cluster-wide bindings first, then those of the namespace; a binding that names the user in
    /// several ways comes several times.
    fn grants<'a>(&'a self, user: &'a UserInfo, namespace: &'a str) -> impl Iterator<Item = Grant<'a>> {
        let namespaces = [Some(""), (!namespace.is_empty()).then_some(namespace)].into_iter().flatten();
        namespaces.filter_map(|namespace| self.bindings.get_key_value(namespace)).flat_map(move |(namespace, all)| {
            let groups = user.groups.iter().filter_map(|group| all.by_group.get(group));
            let names = all.by_user.get(&user.name).into_iter().chain(groups).flatten();
            names.filter_map(move |name| {
                let binding = all.by_name.get(name)?;
                let subject = binding.subjects.iter().find(|subject| subject.who.is(user))?;
                Some(Grant { namespace, name, binding, subject })
            })
        })
    }
}

/// A binding that applies to a user, through its first subject that does.
struct Grant<'a> {
    namespace: &'a str,
    name: &'a str,
    binding: &'a Binding,
    subject: &'a Subject,
}

impl std::fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace {
            "" => write!(f, "ClusterRoleBinding {:?}", self.name)?,
            namespace => write!(f, "RoleBinding \"{}/{namespace}\"", self.name)?,
        }
        write!(f, " of {} {:?} to {}", self.binding.role.kind, self.binding.role.name, self.subject.text)
    }
}

fn note(errors: &mut Vec<String>, error: String) {
    if !errors.contains(&error) {
        errors.push(error);
    }
}

/// As upstream's aggregate prints: one bare, several in brackets.
pub fn aggregate(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
