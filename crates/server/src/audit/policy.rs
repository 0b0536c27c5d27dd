//! `audit.k8s.io/v1 Policy`: which requests are recorded, and how much of them
//! (`k8s.io/apiserver/pkg/audit/policy`).

use std::path::Path;

use orlop_api::Value;
use orlop_api::codec::yaml::from_yaml;
use orlop_client::transport::UserInfo;
use serde::Deserialize;

use super::validation;
use crate::request::RequestInfo;

const API_VERSION: &str = "audit.k8s.io/v1";

/// How much of a request is written down, each level more than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::None, Self::Metadata, Self::Request, Self::RequestResponse];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// A point of a request's life at which an event is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::RequestReceived, Self::ResponseStarted, Self::ResponseComplete, Self::Panic];

    pub fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("failed to read file path {path:?}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{why}: from file {path}")]
    Content { path: String, why: String },
}

/// What the policy says of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub level: Level,
    pub omit_managed_fields: bool,
    omitted: [bool; 4],
}

impl Verdict {
    pub fn omits(self, stage: Stage) -> bool {
        self.omitted[stage as usize]
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Policy {
    pub(super) rules: Vec<Rule>,
    pub(super) omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rule {
    pub level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    pub resources: Vec<GroupResources>,
    pub namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
    pub omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
    /// What a match means, worked out when the policy is read.
    #[serde(skip)]
    verdict: Verdict,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct GroupResources {
    pub group: String,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
}

impl Policy {
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|source| PolicyError::Read { path: name.clone(), source })?;
        Self::parse(&text).map_err(|why| PolicyError::Content { path: name, why })
    }

    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let document = from_yaml(text).map_err(|error| format!("failed decoding: {error}"))?;
        let text = |field: &str| document[field].as_str().unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if (api_version, kind) != (API_VERSION, "Policy") {
            let why = format!("no kind {kind:?} is registered for version {api_version:?}");
            return Err(format!("failed decoding: {why}"));
        }
        for field in validation::unknown_fields(&document) {
            tracing::warn!(field, "the audit policy has an unknown field");
        }
        let mut policy = read(document)?;
        let errors = validation::validate(&policy);
        if !errors.is_empty() {
            return Err(errors.aggregate());
        }
        if policy.rules.is_empty() {
            return Err("loaded illegal policy with 0 rules".into());
        }
        policy.settle();
        Ok(policy)
    }

    fn settle(&mut self) {
        for rule in &mut self.rules {
            let omits = |stage: Stage| {
                let named = |stages: &[String]| stages.iter().any(|name| name == stage.name());
                named(&self.omit_stages) || named(&rule.omit_stages)
            };
            let omitted = Stage::ALL.map(omits);
            let level = Level::ALL.into_iter().find(|level| level.name() == rule.level).unwrap_or_default();
            let omit_managed_fields = rule.omit_managed_fields.unwrap_or(self.omit_managed_fields);
            rule.verdict = Verdict { level, omit_managed_fields, omitted };
        }
    }

    /// The first rule that matches decides; without one nothing is recorded.
    pub fn judge(&self, user: &UserInfo, request: &RequestInfo) -> Verdict {
        self.rules.iter().find(|rule| rule.matches(user, request)).map_or(Verdict::default(), |rule| rule.verdict)
    }
}

fn read(document: Value) -> Result<Policy, String> {
    serde_json::from_value(document).map_err(|error| format!("failed decoding: {error}"))
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|entry| entry == item)
}

impl Rule {
    fn matches(&self, user: &UserInfo, request: &RequestInfo) -> bool {
        let open = |list: &[String], item: &str| list.is_empty() || has(list, item);
        let grouped = self.user_groups.is_empty() || user.groups.iter().any(|group| has(&self.user_groups, group));
        if !open(&self.users, &user.name) || !grouped || !open(&self.verbs, &request.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return request.is_resource
                && open(&self.namespaces, &request.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|one| one.matches(request)));
        }
        self.non_resource_urls.is_empty()
            || (!request.is_resource && self.non_resource_urls.iter().any(|spec| is_path(spec, &request.path)))
    }
}

/// `/logs*` is everything that begins so.
fn is_path(spec: &str, path: &str) -> bool {
    spec == "*" || spec == path || (spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*')))
}

impl GroupResources {
    fn matches(&self, request: &RequestInfo) -> bool {
        let in_group = self.group == "*" || self.group == request.api_group;
        let named = || self.resource_names.is_empty() || has(&self.resource_names, &request.name);
        in_group
            && (self.resources.is_empty() || (named() && self.resources.iter().any(|spec| is_resource(spec, request))))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/status` or `*`; a resource alone does not stand for its subresources.
fn is_resource(spec: &str, request: &RequestInfo) -> bool {
    let (resource, sub) = (&*request.resource, &*request.subresource);
    match spec.split_once('/') {
        None => spec == "*" || (spec == resource && sub.is_empty()),
        Some((spec, "*")) => spec == resource,
        Some(("*", spec)) => !sub.is_empty() && spec == sub,
        Some((left, right)) => left == resource && right == sub,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn policy(rules: &str) -> Result<Policy, String> {
        Policy::parse(format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}").as_bytes())
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let user = UserInfo { name: "tim".into(), groups: vec!["humans".into()], ..UserInfo::default() };
        let pod = "/api/v1/namespaces/default/pods/busybox";
        let log = "/api/v1/namespaces/default/pods/busybox/log";
        let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/edit";
        for (rule, path, want) in [
            ("level: Metadata", pod, Level::Metadata),
            ("level: Metadata, users: [tim]", pod, Level::Metadata),
            ("level: Metadata, users: [tom]", pod, Level::None),
            ("level: Request, userGroups: [humans]", pod, Level::Request),
            ("level: Request, userGroups: [system:serviceaccounts]", pod, Level::None),
            ("level: Request, verbs: [create]", pod, Level::None),
            ("level: RequestResponse, verbs: [get], resources: [{resources: [pods]}]", pod, Level::RequestResponse),
            ("level: Request, resources: [{resources: [pods]}]", log, Level::None),
            ("level: Request, resources: [{resources: [pods/log]}]", log, Level::Request),
            ("level: Request, resources: [{resources: ['*/log']}]", log, Level::Request),
            ("level: Request, resources: [{resources: ['pods/*']}]", log, Level::Request),
            ("level: Request, resources: [{resources: ['pods/*']}]", pod, Level::Request),
            ("level: Request, resources: [{resources: ['*']}]", log, Level::Request),
            ("level: Request, resources: [{group: '*', resources: [clusterroles]}]", role, Level::Request),
            ("level: Request, resources: [{group: apps}]", role, Level::None),
            ("level: Request, resources: [{resources: [pods], resourceNames: [other]}]", pod, Level::None),
            ("level: Request, namespaces: [default]", pod, Level::Request),
            ("level: Request, namespaces: ['']", role, Level::Request),
            ("level: Request, namespaces: ['']", pod, Level::None),
            ("level: Request, nonResourceURLs: ['/logs*']", "/logs/kubelet.log", Level::Request),
            ("level: Request, nonResourceURLs: ['/logs*']", pod, Level::None),
            ("level: Request, nonResourceURLs: ['*']", "/healthz", Level::Request),
        ] {
            let policy = policy(&format!("rules: [{{{rule}}}]")).expect(rule);
            let verdict = policy.judge(&user, &RequestInfo::parse(&Method::GET, path));
            assert_eq!(verdict.level, want, "{rule} {path}");
        }
    }

    #[test]
    fn stages_and_managed_fields_are_left_out_as_policy_and_rule_say() {
        let policy = policy(
            "omitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n\
             - {level: Metadata, verbs: [get], omitStages: [Panic], omitManagedFields: false}\n- level: Request\n",
        )
        .expect("policy");
        let judge = |method| policy.judge(&UserInfo::default(), &RequestInfo::parse(&method, "/api/v1/pods/a"));
        let (get, post) = (judge(Method::GET), judge(Method::POST));
        assert_eq!(Stage::ALL.map(|stage| get.omits(stage)), [true, false, false, true]);
        assert_eq!(Stage::ALL.map(|stage| post.omits(stage)), [true, false, false, false]);
        assert_eq!((get.omit_managed_fields, post.omit_managed_fields), (false, true));
    }

    #[test]
    fn bad_policies_are_refused_in_upstreams_words() {
        for (rules, want) in [
            ("rules: []", "loaded illegal policy with 0 rules"),
            ("rules: [{}]", "rules[0].level: Required value"),
            (
                "rules: [{level: All}]",
                "rules[0].level: Unsupported value: \"All\": supported values: \"None\", \"Metadata\", \"Request\", \
                 \"RequestResponse\"",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [logs, '/a*b']}]",
                "[rules[0].nonResourceURLs[0]: Invalid value: \"logs\": non-resource URL rules must begin with a '/' \
                 character, rules[0].nonResourceURLs[1]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must \
                 be the final character of the rule]",
            ),
            (
                "rules: [{level: None, nonResourceURLs: ['*'], namespaces: [a]}]",
                "rules[0].nonResourceURLs: Invalid value: [\"*\"]: rules cannot apply to both regular resources and \
                 non-resource URLs",
            ),
            (
                "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
                "rules[0].resources.resourceNames: Invalid value: [\"a\"]: using resourceNames requires at least one \
                 resource",
            ),
            (
                "omitStages: [Sent]\nrules: [{level: None}]",
                "omitStages[0]: Invalid value: \"Sent\": allowed stages are \
                 RequestReceived,ResponseStarted,ResponseComplete,Panic",
            ),
        ] {
            assert_eq!(policy(rules).expect_err(rules), want);
        }
        let other = Policy::parse(b"apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: []").expect_err("refused");
        assert_eq!(other, "failed decoding: no kind \"Policy\" is registered for version \"audit.k8s.io/v1beta1\"");
    }
}
