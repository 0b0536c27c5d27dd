//! `AuthorizationConfiguration`: the chain from a file (`--authorization-config`), or from flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orlop_api::codec::yaml::from_yaml;
use orlop_api::field::{ErrorList, Path};
use orlop_base::names;
use orlop_cel::value::time::{format_duration, parse_duration};
use serde::Deserialize;

use super::abac::Policies;
use super::chain::{Link, Mode};
use super::webhook::{Conditions, Settings, Webhook};
use crate::review::remote::Remote;

const GROUP: &str = "apiserver.config.k8s.io";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
const MODES: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
pub const AUTHORIZED_TTL: Duration = Duration::from_mins(5);
pub const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    api_version: String,
    kind: String,
    authorizers: Vec<Entry>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(rename = "type")]
    mode: String,
    name: String,
    webhook: Option<WebhookEntry>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct WebhookEntry {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Span,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Span,
    cache_unauthorized_requests: Option<bool>,
    timeout: Span,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: Connection,
    match_conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Connection {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Condition {
    expression: String,
}

/// A duration as Go writes it (`5m0s`), in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(try_from = "String")]
struct Span(i64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self).map_err(|error| error.to_string())
    }
}

impl Span {
    fn or(self, default: Duration) -> Duration {
        if self.0 == 0 { default } else { self.duration() }
    }

    fn duration(self) -> Duration {
        Duration::from_nanos(self.0.max(0).unsigned_abs())
    }

    fn text(self) -> String {
        format_duration(self.0)
    }
}

/// Reads a configuration. `abac` are the policies of `--authorization-policy-file`; `required`: modes, besides
/// webhooks, that a running server cannot do without, and beyond which it can start none.
pub fn load(text: &[u8], abac: Option<&Arc<Policies>>, required: Option<&[&str]>) -> Result<Vec<Link>, String> {
    let failed = |why: String| format!("failed to load AuthorizationConfiguration from file: {why}");
    let value = from_yaml(text).map_err(|error| failed(error.to_string()))?;
    let config: Configuration = serde_json::from_value(value).map_err(|error| failed(error.to_string()))?;
    let known = config.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
    if !known.is_some_and(|version| VERSIONS.contains(&version)) || config.kind != "AuthorizationConfiguration" {
        let (kind, version) = (&config.kind, &config.api_version);
        return Err(failed(format!("no kind {kind:?} is registered for version {version:?}")));
    }
    let mut errors = ErrorList::default();
    config.validate(&mut errors);
    if !errors.is_empty() {
        return Err(errors.aggregate());
    }
    config.check_names(required)?;
    config.authorizers.iter().map(|entry| entry.link(abac)).collect()
}

impl Configuration {
    fn validate(&self, errors: &mut ErrorList) {
        let list = Path::new("authorizers");
        if self.authorizers.is_empty() {
            errors.required(&list, "at least one authorization mode must be defined");
        }
        for (i, entry) in self.authorizers.iter().enumerate() {
            let (earlier, path) = (&self.authorizers[..i], list.index(i));
            let mode = &*entry.mode;
            if mode.is_empty() {
                errors.required(&path.child("type"), "");
            } else if !MODES.contains(&mode) {
                errors.not_supported(&path.child("type"), mode, &MODES);
            } else if mode != "Webhook" && earlier.iter().any(|other| other.mode == mode) {
                errors.duplicate(&path.child("type"), mode);
            } else {
                validate_name(&entry.name, earlier, &path.child("name"), errors);
                entry.validate_webhook(&path, errors);
            }
        }
    }

    fn check_names(&self, required: Option<&[&str]>) -> Result<(), String> {
        let mut errors = Vec::new();
        for Entry { mode, name, .. } in self.authorizers.iter().filter(|entry| entry.mode != "Webhook") {
            let expected = mode.to_lowercase();
            if *name != expected {
                errors.push(format!("expected name {expected} for authorizer {mode} instead of {name}"));
            }
            if required
                .is_some_and(|required| !required.contains(&&**mode) && matches!(&**mode, "Node" | "RBAC" | "ABAC"))
            {
                errors.push(format!(
                    "authorizer type {mode} is not allowed if it was not enabled at initial server startup"
                ));
            }
        }
        let gone = |mode: &&&str| !self.authorizers.iter().any(|entry| entry.mode == **mode);
        let missing: Vec<&str> = required.into_iter().flatten().filter(gone).copied().collect();
        if !missing.is_empty() {
            errors.push(format!("missing required types: [{}]", missing.join(" ")));
        }
        if errors.is_empty() { Ok(()) } else { Err(super::rbac::aggregate(&errors)) }
    }
}

fn validate_name(name: &str, earlier: &[Entry], path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.required(path, "");
    } else if earlier.iter().any(|other| other.name == name) {
        errors.duplicate(path, name);
    } else {
        let wrong = names::dns1123_subdomain(name);
        if !wrong.is_empty() {
            errors.invalid(path, name, format!("authorizer name is invalid: {}", wrong.join(", ")));
        }
    }
}

impl Entry {
    fn validate_webhook(&self, path: &Path<'_>, errors: &mut ErrorList) {
        match (&*self.mode, &self.webhook) {
            ("Webhook", None) => errors.required(&path.child("webhook"), "required when type=Webhook"),
            ("Webhook", Some(webhook)) => webhook.validate(path, errors),
            (_, Some(_)) => {
                errors.invalid(&path.child("webhook"), "non-null", "may only be specified when type=Webhook");
            }
            _ => {}
        }
    }

    fn link(&self, abac: Option<&Arc<Policies>>) -> Result<Link, String> {
        Ok(match (&*self.mode, &self.webhook) {
            ("Webhook", Some(webhook)) => {
                Link { name: self.name.clone(), mode: Mode::Webhook(Arc::new(webhook.open()?)) }
            }
            (mode, _) => Link::of(of_name(mode, abac)?),
        })
    }
}

/// A mode that needs no webhook.
pub fn of_name(mode: &str, abac: Option<&Arc<Policies>>) -> Result<Mode, String> {
    Ok(match mode {
        "AlwaysAllow" => Mode::AlwaysAllow,
        "AlwaysDeny" => Mode::AlwaysDeny,
        "ABAC" => Mode::Abac(abac.cloned().ok_or("authorization-mode ABAC's authorization policy file not passed")?),
        "Node" => Mode::Node,
        "RBAC" => Mode::Rbac,
        other => return Err(format!("authorization-mode {other:?} is not a valid mode")),
    })
}

impl WebhookEntry {
    /// Upstream's paths leave out that this is below `webhook`.
    fn validate(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let timeout = path.child("timeout");
        if self.timeout.0 == 0 {
            errors.required(&timeout, "");
        } else if self.timeout.0 < 0 || self.timeout.duration() > MAX_TIMEOUT {
            errors.invalid(&timeout, self.timeout.text(), "must be > 0s and <= 30s");
        }
        for (field, span) in [("authorizedTTL", self.authorized_ttl), ("unauthorizedTTL", self.unauthorized_ttl)] {
            if span.0 < 0 {
                errors.invalid(&path.child(field), span.text(), "must be > 0s");
            }
        }
        one_of(
            &path.child("subjectAccessReviewVersion"),
            &self.subject_access_review_version,
            &["v1", "v1beta1"],
            errors,
        );
        let conditions_version = path.child("matchConditionSubjectAccessReviewVersion");
        match &*self.match_condition_subject_access_review_version {
            "" if self.match_conditions.is_empty() => {}
            "" => errors.required(&conditions_version, "required if match conditions are specified"),
            version => one_of(&conditions_version, version, &["v1"], errors),
        }
        one_of(&path.child("failurePolicy"), &self.failure_policy, &["NoOpinion", "Deny"], errors);
        self.connection_info.validate(&path.child("connectionInfo"), errors);
        self.compile(&path.child("matchConditions"), errors);
    }

    fn compile(&self, path: &Path<'_>, errors: &mut ErrorList) -> Conditions {
        let expressions: Vec<String> = self.match_conditions.iter().map(|one| one.expression.clone()).collect();
        Conditions::compile(&expressions, path, errors)
    }

    fn open(&self) -> Result<Webhook, String> {
        let file = self.connection_info.kube_config_file.as_deref();
        let file = file.ok_or("InClusterConfig: unable to load in-cluster configuration, not running inside a pod")?;
        let remote = Remote::from_kubeconfig(file, self.timeout.duration());
        let remote = remote.map_err(|error| orlop_base::error::chain(&error))?;
        let life = |cached: Option<bool>, span: Span, default| {
            if cached == Some(false) { Duration::ZERO } else { span.or(default) }
        };
        let settings = Settings {
            authorized_ttl: life(self.cache_authorized_requests, self.authorized_ttl, AUTHORIZED_TTL),
            unauthorized_ttl: life(self.cache_unauthorized_requests, self.unauthorized_ttl, UNAUTHORIZED_TTL),
            version: self.subject_access_review_version.clone(),
            deny_on_failure: self.failure_policy == "Deny",
        };
        Ok(Webhook::new(remote, settings, self.compile(&Path::new("matchConditions"), &mut ErrorList::default())))
    }
}

fn one_of(path: &Path<'_>, value: &str, known: &[&str], errors: &mut ErrorList) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !known.contains(&value) {
        errors.not_supported(path, value, known);
    }
}

impl Connection {
    fn validate(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let file = path.child("kubeConfigFile");
        let name = self.kube_config_file.as_ref().map(|file| file.display().to_string());
        match (&*self.kind, self.kube_config_file.as_ref().zip(name)) {
            ("InClusterConfig", Some((_, name))) => {
                errors.invalid(&file, name, "can only be set when type=KubeConfigFile");
            }
            ("InClusterConfig", None) => {}
            ("KubeConfigFile", None) => errors.required(&file, ""),
            ("KubeConfigFile", Some((_, name))) if name.is_empty() => errors.required(&file, ""),
            ("KubeConfigFile", Some((path, name))) if !path.is_absolute() => {
                errors.invalid(&file, name, "must be an absolute path");
            }
            ("KubeConfigFile", Some((path, name))) => match std::fs::metadata(path) {
                Err(error) => errors.invalid(&file, name, format!("error loading file: {error}")),
                Ok(meta) if !meta.is_file() => errors.invalid(&file, name, "must be a regular file"),
                Ok(_) => {}
            },
            (kind, _) => one_of(&path.child("type"), kind, &["InClusterConfig", "KubeConfigFile"], errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, required: Option<&[&str]>) -> String {
        let text = format!("apiVersion: {GROUP}/v1\nkind: AuthorizationConfiguration\n{text}");
        match load(text.as_bytes(), None, required) {
            Ok(links) => {
                links.iter().map(|link| format!("{}={}", link.name, link.mode.name())).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error,
        }
    }

    #[test]
    fn chains_are_read_or_refused_in_upstreams_words() {
        for (text, required, expected) in [
            ("authorizers: [{type: Node, name: node}, {type: RBAC, name: rbac}]", None, "node=Node rbac=RBAC"),
            ("authorizers: []", None, "authorizers: Required value: at least one authorization mode must be defined"),
            ("authorizers: [{name: x}]", None, "authorizers[0].type: Required value"),
            (
                "authorizers: [{type: Magic, name: x}]",
                None,
                r#"authorizers[0].type: Unsupported value: "Magic": supported values: "ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook""#,
            ),
            (
                "authorizers: [{type: RBAC, name: rbac}, {type: RBAC, name: more}]",
                None,
                r#"authorizers[1].type: Duplicate value: "RBAC""#,
            ),
            ("authorizers: [{type: RBAC, name: mine}]", None, "expected name rbac for authorizer RBAC instead of mine"),
            ("authorizers: [{type: RBAC, name: rbac}]", Some(&["Node", "RBAC"][..]), "missing required types: [Node]"),
            (
                "authorizers: [{type: RBAC, name: rbac, webhook: {}}]",
                None,
                r#"authorizers[0].webhook: Invalid value: "non-null": may only be specified when type=Webhook"#,
            ),
            (
                "authorizers: [{type: Webhook, name: w}]",
                None,
                "authorizers[0].webhook: Required value: required when type=Webhook",
            ),
        ] {
            assert_eq!(names(text, required), expected, "{text}");
        }
    }

    #[test]
    fn webhooks_are_checked_whole() {
        let entry = "authorizers:\n- type: Webhook\n  name: w\n  webhook:\n    timeout: 31s\n    \
            failurePolicy: Maybe\n    subjectAccessReviewVersion: v2\n    connectionInfo: {type: KubeConfigFile, kubeConfigFile: x}\n    \
            matchConditions: [{expression: request.user}]\n";
        assert_eq!(
            names(entry, None),
            "[authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s, \
             authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\", \
             authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified, \
             authorizers[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"NoOpinion\", \"Deny\", \
             authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path, \
             authorizers[0].matchConditions[0].expression: Invalid value: \"request.user\": must evaluate to bool but got string]"
        );
    }
}
