//! Policies from a file, one JSON object a line (`--authorization-mode=ABAC`, `pkg/auth/authorizer/abac`).

use std::path::Path;

use orlop_api::Value;
use orlop_client::transport::UserInfo;
use serde::Deserialize;

use super::rule::Rule;
use crate::auth::Decision;
use crate::authn::AUTHENTICATED;
use crate::request::RequestInfo;

const API_VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";
const READS: [&str; 3] = ["get", "list", "watch"];

/// All lines of a file.
#[derive(Debug, Default)]
pub struct Policies(Vec<Policy>);

/// `abac.authorization.kubernetes.io/v1beta1` PolicySpec; lines without a version have the same fields, but say
/// nothing of groups of APIs and paths.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    #[serde(rename = "apiGroup")]
    api_group: String,
    resource: String,
    namespace: String,
    #[serde(rename = "nonResourcePath")]
    path: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("open {path}")]
    Read { path: String, source: std::io::Error },
    #[error("error reading policy file {path}, line {line}: {text}: {why}")]
    Line { path: String, line: usize, text: String, why: String },
}

impl Policies {
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| PolicyError::Read { path: name.clone(), source })?;
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let parsed = lines.map(|(i, line)| {
            let wrong = |why| PolicyError::Line { path: name.clone(), line: i + 1, text: line.to_owned(), why };
            parse(line).map_err(wrong)
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    pub fn decide(&self, user: &UserInfo, request: &RequestInfo) -> Decision {
        if self.0.iter().any(|policy| policy.allows(user, request)) {
            return Decision::Allow { reason: String::new() };
        }
        Decision::NoOpinion { reason: "No policy matched.".into() }
    }

    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        let own = self.0.iter().filter(|policy| policy.is_about(user) && covers(&policy.namespace, namespace));
        own.flat_map(Policy::rules).collect()
    }
}

fn parse(line: &str) -> Result<Policy, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let read = |value: &Value| serde_json::from_value::<Policy>(value.clone()).map_err(|error| error.to_string());
    match value["apiVersion"].as_str() {
        Some(API_VERSION) if value["kind"] == "Policy" => read(&value["spec"]).map(Policy::with_stars),
        Some(other) if !other.is_empty() => {
            Err(format!("no kind {} is registered for version {other:?}", value["kind"]))
        }
        _ => read(&value).map(|policy| policy.or_everything().with_stars()),
    }
}

impl Policy {
    /// Everybody means everybody who proved who they are.
    fn with_stars(mut self) -> Self {
        if self.user == "*" || self.group == "*" {
            self.user.clear();
            self.group = AUTHENTICATED.into();
        }
        self
    }

    /// What the old form leaves out means everything.
    fn or_everything(mut self) -> Self {
        if self.user.is_empty() && self.group.is_empty() {
            self.group = AUTHENTICATED.into();
        }
        self.path = if self.namespace.is_empty() && self.resource.is_empty() { "*".into() } else { String::new() };
        self.api_group = "*".into();
        for text in [&mut self.namespace, &mut self.resource] {
            if text.is_empty() {
                *text = "*".into();
            }
        }
        self
    }

    fn allows(&self, user: &UserInfo, request: &RequestInfo) -> bool {
        let may = !self.readonly || READS.contains(&&*request.verb);
        self.is_about(user) && may && self.matches(request)
    }

    fn is_about(&self, user: &UserInfo) -> bool {
        let names = self.user.is_empty() || covers(&self.user, &user.name);
        let groups = self.group.is_empty() || user.groups.contains(&self.group);
        names && groups && !(self.user.is_empty() && self.group.is_empty())
    }

    fn matches(&self, request: &RequestInfo) -> bool {
        if request.is_resource {
            return covers(&self.namespace, &request.namespace)
                && covers(&self.resource, &request.resource)
                && covers(&self.api_group, &request.api_group);
        }
        let prefix = self.path.trim_end_matches('*');
        self.path == request.path || prefix.len() < self.path.len() && request.path.starts_with(prefix)
    }

    fn rules(&self) -> Vec<Rule> {
        let verbs: Vec<String> = if self.readonly { READS.map(str::to_owned).to_vec() } else { vec!["*".to_owned()] };
        let mut rules = Vec::new();
        if !self.resource.is_empty() {
            let (groups, resources) = (vec![self.api_group.clone()], vec![self.resource.clone()]);
            rules.push(Rule { verbs: verbs.clone(), groups, resources, ..Rule::default() });
        }
        if !self.path.is_empty() {
            rules.push(Rule { verbs, urls: vec![self.path.clone()], ..Rule::default() });
        }
        rules
    }
}

fn covers(pattern: &str, text: &str) -> bool {
    pattern == "*" || pattern == text
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn policies(lines: &[&str]) -> Policies {
        Policies(lines.iter().map(|line| parse(line).expect("a policy")).collect())
    }

    fn versioned(spec: &str) -> String {
        format!(r#"{{"apiVersion": "{API_VERSION}", "kind": "Policy", "spec": {{{spec}}}}}"#)
    }

    #[test]
    fn lines_allow_what_they_name() {
        let user = |name: &str, groups: &[&str]| UserInfo {
            name: name.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        };
        let all = r#""user": "alice", "namespace": "*", "resource": "*", "apiGroup": "*""#;
        let pods = r#""group": "devs", "namespace": "a", "resource": "pods", "readonly": true"#;
        let pods_path = "/api/v1/namespaces/a/pods";
        for (spec, method, path, allowed) in [
            (all, "DELETE", "/apis/apps/v1/namespaces/b/deployments/x", true),
            (all, "GET", "/healthz", false),
            (pods, "GET", pods_path, true),
            (pods, "POST", pods_path, false),
            (pods, "GET", "/api/v1/namespaces/b/pods", false),
            (pods, "GET", "/apis/x/v1/namespaces/a/pods", false),
            (r#""user": "bob", "nonResourcePath": "*""#, "GET", "/healthz", false),
            (r#""user": "*", "nonResourcePath": "/health*""#, "GET", "/healthz/x", true),
            (r#""user": "*", "nonResourcePath": "/health""#, "GET", "/healthz", false),
            (r#""user": "alice", "group": "ops", "nonResourcePath": "*""#, "GET", "/", false),
            (r#""nonResourcePath": "*""#, "GET", "/", false),
        ] {
            let request = RequestInfo::parse(&Method::from_bytes(method.as_bytes()).expect("a method"), path);
            let decision = policies(&[&versioned(spec)]).decide(&user("alice", &["devs", AUTHENTICATED]), &request);
            let nobody = Decision::NoOpinion { reason: "No policy matched.".into() };
            let expected = if allowed { Decision::Allow { reason: String::new() } } else { nobody };
            assert_eq!(decision, expected, "{spec} {method} {path}");
        }
    }

    #[test]
    fn old_lines_say_less_and_mean_more() {
        let everybody = parse("{}").expect("a policy");
        assert_eq!((&*everybody.group, &*everybody.path, &*everybody.resource), ("system:authenticated", "*", "*"));
        let pods = parse(r#"{"user": "*", "resource": "pods"}"#).expect("a policy");
        assert_eq!((&*pods.user, &*pods.group, &*pods.path, &*pods.namespace), ("", "system:authenticated", "", "*"));
        let rules = policies(&[r#"{"user": "a", "resource": "pods", "readonly": true}"#]);
        let user = UserInfo { name: "a".into(), ..UserInfo::default() };
        assert_eq!(rules.rules_for(&user, "x")[0].verbs, READS);
        assert!(parse("{").is_err() && parse(r#"{"apiVersion": "v1", "kind": "Policy"}"#).is_err());
    }
}
