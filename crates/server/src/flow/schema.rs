//! FlowSchemas: which requests they are for, and how those are told apart (`flowcontrol/rule.go`).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use http::HeaderValue;
use orlop_api::{Value, meta};
use orlop_client::transport::UserInfo;
use serde::Deserialize;

use super::level::Level;
use super::metrics::{Tallies, Tally};
use crate::request::RequestInfo;

/// Seeds each flow's choice of queues.
pub type FlowHash = u64;

pub struct Schema {
    pub name: Arc<str>,
    pub uid: HeaderValue,
    pub level: Arc<Level>,
    pub precedence: i64,
    pub distinguisher: Distinguisher,
    rules: Vec<Rule>,
    tallies: Tallies,
}

/// What tells a schema's flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

impl Distinguisher {
    pub fn of<'a>(self, user: &'a UserInfo, info: &'a RequestInfo) -> &'a str {
        match self {
            Self::Nothing => "",
            Self::User => &user.name,
            Self::Namespace => &info.namespace,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    subjects: Vec<Subject>,
    resource_rules: Vec<ResourceRule>,
    non_resource_rules: Vec<NonResourceRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subject {
    kind: String,
    user: Option<Named>,
    group: Option<Named>,
    service_account: Option<Named>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NonResourceRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
}

impl Schema {
    /// `level` finds the one that it names; without it the schema applies to nothing.
    pub fn read(object: &Value, level: impl FnOnce(&str) -> Option<Arc<Level>>) -> Option<Self> {
        let spec = &object["spec"];
        let name: Arc<str> = meta::name(object).into();
        let level = level(spec["priorityLevelConfiguration"]["name"].as_str()?)?;
        Some(Self {
            tallies: Tallies::new(&name, &level.name),
            name,
            uid: HeaderValue::from_str(meta::uid(object)).ok()?,
            level,
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            distinguisher: match spec["distinguisherMethod"]["type"].as_str() {
                Some("ByUser") => Distinguisher::User,
                Some("ByNamespace") => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            rules: serde_json::from_value(spec["rules"].clone()).unwrap_or_default(),
        })
    }

    /// What its requests are counted by.
    pub fn tally(&self, info: &RequestInfo) -> &Arc<Tally> {
        self.tallies.of(info)
    }

    pub fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, info))
    }

    /// Which of the schema's flows a request belongs to.
    pub fn flow(&self, user: &UserInfo, info: &RequestInfo) -> FlowHash {
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        self.distinguisher.of(user, info).hash(&mut hasher);
        hasher.finish()
    }
}

/// One star stands for everything; nothing else in a list is a pattern.
fn has(list: &[String], item: &str) -> bool {
    matches!(list, [one] if one == "*") || list.iter().any(|entry| entry == item)
}

impl Rule {
    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let concerned = || {
            if info.is_resource {
                self.resource_rules.iter().any(|rule| rule.matches(info))
            } else {
                self.non_resource_rules.iter().any(|rule| rule.matches(info))
            }
        };
        self.subjects.iter().any(|subject| subject.matches(user)) && concerned()
    }
}

impl Subject {
    fn matches(&self, user: &UserInfo) -> bool {
        let named = |named: &Option<Named>, name: &str| named.as_ref().is_some_and(|n| n.name == "*" || n.name == name);
        match &*self.kind {
            "User" => named(&self.user, &user.name),
            "Group" => {
                self.group.as_ref().is_some_and(|group| group.name == "*")
                    || user.groups.iter().any(|group| named(&self.group, group))
            }
            "ServiceAccount" => self.service_account.as_ref().is_some_and(|account| {
                let rest = user.name.strip_prefix("system:serviceaccount:");
                let rest = rest.and_then(|rest| rest.strip_prefix(&*account.namespace)?.strip_prefix(':'));
                rest.is_some_and(|name| account.name == "*" || account.name == name)
            }),
            _ => false,
        }
    }
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let in_place = match &*info.namespace {
            "" => self.cluster_scope,
            namespace => has(&self.namespaces, namespace),
        };
        in_place && has(&self.verbs, &info.verb) && has(&self.api_groups, &info.api_group) && self.names(info)
    }

    fn names(&self, info: &RequestInfo) -> bool {
        if info.subresource.is_empty() {
            return has(&self.resources, &info.resource);
        }
        let is = |entry: &String| entry.split_once('/') == Some((&*info.resource, &*info.subresource));
        matches!(&*self.resources, [one] if one == "*") || self.resources.iter().any(is)
    }
}

impl NonResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let under = |url: &String| {
            let prefix = url.strip_suffix('*').unwrap_or(url);
            let rest = info.path.strip_prefix(prefix.trim_end_matches('/'));
            url == "*" || *url == info.path || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        has(&self.verbs, &info.verb) && self.non_resource_urls.iter().any(under)
    }
}
