//! A policy rule: what it allows, and what it covers of another.

use std::collections::BTreeMap;

use orlop_api::Value;
use serde_json::{Map, json};

use crate::request::RequestInfo;

/// `rbac/v1 PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub names: Vec<String>,
    pub urls: Vec<String>,
}

const ALL: &str = "*";

impl Rule {
    pub fn from_value(value: &Value) -> Self {
        Self {
            verbs: texts(&value["verbs"]),
            groups: texts(&value["apiGroups"]),
            resources: texts(&value["resources"]),
            names: texts(&value["resourceNames"]),
            urls: texts(&value["nonResourceURLs"]),
        }
    }

    /// All rules of a Role or ClusterRole.
    pub fn list(role: &Value) -> Vec<Self> {
        role["rules"].as_array().map(|rules| rules.iter().map(Self::from_value).collect()).unwrap_or_default()
    }

    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (field, values) in [
            ("apiGroups", &self.groups),
            ("nonResourceURLs", &self.urls),
            ("resourceNames", &self.names),
            ("resources", &self.resources),
        ] {
            if !values.is_empty() {
                map.insert(field.into(), json!(values));
            }
        }
        map.insert("verbs".into(), json!(self.verbs));
        Value::Object(map)
    }

    /// Everything, on resources and on paths.
    pub fn full_authority() -> [Self; 2] {
        let all = || vec![ALL.to_owned()];
        [
            Self { verbs: all(), groups: all(), resources: all(), ..Self::default() },
            Self { verbs: all(), urls: all(), ..Self::default() },
        ]
    }

    pub fn allows(&self, request: &RequestInfo) -> bool {
        if !holds(&self.verbs, &request.verb) {
            return false;
        }
        if !request.is_resource {
            return self.urls.iter().any(|url| url_covers(url, &request.path));
        }
        holds(&self.groups, &request.api_group)
            && self.resources.iter().any(|rule| resource_matches(rule, &request.resource, &request.subresource))
            && (self.names.is_empty() || self.names.contains(&request.name))
    }

    /// The rules that allow one verb on one thing each.
    fn break_down(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut atoms = Vec::new();
        for (group, resource) in self.groups.iter().flat_map(|g| self.resources.iter().map(move |r| (g, r))) {
            for verb in &self.verbs {
                let atom = Self { verbs: one(verb), groups: one(group), resources: one(resource), ..Self::default() };
                if self.names.is_empty() {
                    atoms.push(atom);
                } else {
                    atoms.extend(self.names.iter().map(|name| Self { names: one(name), ..atom.clone() }));
                }
            }
        }
        for (url, verb) in self.urls.iter().flat_map(|url| self.verbs.iter().map(move |verb| (url, verb))) {
            atoms.push(Self { verbs: one(verb), urls: one(url), ..Self::default() });
        }
        atoms
    }

    /// `atom` is one of [`Rule::break_down`].
    fn covers_atom(&self, atom: &Self) -> bool {
        let all_held = |own: &[String], asked: &[String]| asked.iter().all(|text| holds(own, text));
        all_held(&self.verbs, &atom.verbs)
            && all_held(&self.groups, &atom.groups)
            && atom.resources.iter().all(|resource| self.covers_resource(resource))
            && atom.urls.iter().all(|url| self.urls.iter().any(|own| url_covers(own, url)))
            && (self.names.is_empty() || (!atom.names.is_empty() && atom.names.iter().all(|n| self.names.contains(n))))
    }

    fn covers_resource(&self, resource: &str) -> bool {
        holds(&self.resources, resource)
            || resource
                .split_once('/')
                .is_some_and(|(_, sub)| self.resources.iter().any(|own| own.strip_prefix("*/") == Some(sub)))
    }

    /// The form in which refusals print a rule.
    fn compact_text(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", go_list(values)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// What of `asked` is not within `held`, in atoms (`component-helpers/auth/rbac/validation`).
pub fn missing(held: &[Rule], asked: &[Rule]) -> Vec<Rule> {
    let atoms = asked.iter().flat_map(Rule::break_down);
    atoms.filter(|atom| !held.iter().any(|rule| rule.covers_atom(atom))).collect()
}

/// Missing atoms as upstream lists them: verbs on the same thing together, sorted, one per line.
pub fn describe(atoms: &[Rule]) -> String {
    let mut merged: BTreeMap<[Vec<String>; 3], Rule> = BTreeMap::new();
    let mut texts: Vec<String> = Vec::new();
    for atom in atoms {
        if atom.resources.is_empty() {
            texts.push(atom.compact_text());
            continue;
        }
        let key = [atom.groups.clone(), atom.resources.clone(), atom.names.clone()];
        let rule = merged.entry(key).or_insert_with(|| Rule { verbs: Vec::new(), ..atom.clone() });
        rule.verbs.extend(atom.verbs.iter().cloned());
    }
    texts.extend(merged.values().map(Rule::compact_text));
    texts.sort();
    texts.dedup();
    texts.join("\n")
}

/// A list of strings as Go's `%q` prints it.
pub fn go_list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

fn holds(own: &[String], text: &str) -> bool {
    own.iter().any(|value| value == ALL || value == text)
}

/// `*`, `pods`, `pods/log`, `*/scale`.
fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == ALL {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((_, _)) if subresource.is_empty() => false,
        Some((own, sub)) => sub == subresource && (own == ALL || own == resource),
    }
}

/// Whether a path stands for another: equal, or a prefix with `*` at its end.
fn url_covers(own: &str, path: &str) -> bool {
    own == path || own.ends_with('*') && path.starts_with(own.trim_end_matches('*'))
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    /// `verbs groups resources [names]` or `verbs url paths`, as the bootstrap policy writes it.
    fn rule(text: &str) -> Rule {
        super::super::bootstrap::parse_rule(text).expect("a rule")
    }

    #[test]
    fn what_a_rule_allows() {
        for (rule_text, method, path, allowed) in [
            ("get core pods", "GET", "/api/v1/namespaces/a/pods/x", true),
            ("get core pods", "GET", "/api/v1/namespaces/a/pods", false),
            ("list core pods", "GET", "/api/v1/namespaces/a/pods", true),
            ("get core pods", "GET", "/api/v1/namespaces/a/pods/x/log", false),
            ("get core pods/log", "GET", "/api/v1/namespaces/a/pods/x/log", true),
            ("get core pods/log", "GET", "/api/v1/namespaces/a/pods/x", false),
            ("update * */scale", "PUT", "/apis/apps/v1/namespaces/a/deployments/x/scale", true),
            ("update * */scale", "PUT", "/apis/apps/v1/namespaces/a/deployments/x/status", false),
            ("update * */scale", "PUT", "/apis/apps/v1/namespaces/a/scale/x", false),
            ("* * *", "DELETE", "/apis/apps/v1/namespaces/a/deployments/x/scale", true),
            ("* * *", "GET", "/healthz", false),
            ("get core secrets one,two", "GET", "/api/v1/namespaces/a/secrets/two", true),
            ("get core secrets one,two", "GET", "/api/v1/namespaces/a/secrets/three", false),
            ("list core secrets one", "GET", "/api/v1/namespaces/a/secrets?fieldSelector=metadata.name=one", true),
            ("get apps pods", "GET", "/api/v1/namespaces/a/pods/x", false),
            ("get url /healthz", "GET", "/healthz", true),
            ("get url /healthz", "GET", "/healthz/etcd", false),
            ("get url /healthz/*", "GET", "/healthz/etcd", true),
            ("get url *", "GET", "/metrics", true),
            ("post url *", "GET", "/metrics", false),
        ] {
            let request = RequestInfo::parse(&Method::from_bytes(method.as_bytes()).expect("method"), path);
            assert_eq!(rule(rule_text).allows(&request), allowed, "{rule_text:?} {method} {path}");
        }
    }

    #[test]
    fn what_rules_cover() {
        for (held, asked, left) in [
            (vec!["get,list core pods"], "get core pods", ""),
            (vec!["* * *"], "get,delete core,apps pods,deployments/scale", ""),
            (vec!["get core */scale"], "get core foo/scale", ""),
            (vec!["get core pods one,two"], "get core pods two", ""),
            (vec!["get core pods one"], "get core pods", r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#),
            (
                vec!["get core pods", "update apps deployments"],
                "get,update,delete core,apps pods,deployments",
                "{APIGroups:[\"\"], Resources:[\"deployments\"], Verbs:[\"get\" \"update\" \"delete\"]}\n\
                 {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"update\" \"delete\"]}\n\
                 {APIGroups:[\"apps\"], Resources:[\"deployments\"], Verbs:[\"get\" \"delete\"]}\n\
                 {APIGroups:[\"apps\"], Resources:[\"pods\"], Verbs:[\"get\" \"update\" \"delete\"]}",
            ),
            (vec!["get url /apis/*"], "get,post url /apis/x", r#"{NonResourceURLs:["/apis/x"], Verbs:["post"]}"#),
            (vec![], "get core pods x", r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["x"], Verbs:["get"]}"#),
        ] {
            let held: Vec<Rule> = held.into_iter().map(rule).collect();
            assert_eq!(describe(&missing(&held, &[rule(asked)])), left, "{asked:?}");
        }
    }

    #[test]
    fn rules_survive_json() {
        for text in ["get,list core,apps pods,pods/log a", "* url /x,/y/*"] {
            assert_eq!(Rule::from_value(&rule(text).to_value()), rule(text));
        }
    }
}
