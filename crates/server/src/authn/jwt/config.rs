//! `AuthenticationConfiguration` (`--authentication-config`), and what is wrong with one.

use std::collections::BTreeSet;

use orlop_api::codec::yaml::from_yaml;
use orlop_api::field::{ErrorList, Path};
use orlop_base::names;
use serde::Deserialize;

use super::super::Anonymous;
use super::mapping::Mapping;

const GROUP: &str = "apiserver.config.k8s.io";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
const MAX_ISSUERS: usize = 64;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    api_version: String,
    kind: String,
    pub jwt: Vec<JwtConfig>,
    pub anonymous: Option<AnonymousConfig>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct AnonymousConfig {
    enabled: bool,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
struct Condition {
    path: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtConfig {
    pub issuer: IssuerEntry,
    pub claim_validation_rules: Vec<ClaimRule>,
    pub claim_mappings: Mappings,
    pub user_validation_rules: Vec<UserRule>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerEntry {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct UserRule {
    pub expression: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Mappings {
    pub username: Source,
    pub groups: Source,
    pub uid: Source,
    pub extra: Vec<Extra>,
}

/// A claim, or an expression. A uid has no prefix.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Extra {
    pub key: String,
    pub value_expression: String,
}

/// Reads a configuration, whose issuers must not be `disallowed`: those of ServiceAccounts.
pub fn load(text: &[u8], disallowed: &[String]) -> Result<Configuration, String> {
    if text.is_empty() {
        return Err("empty config data".to_owned());
    }
    let value = from_yaml(text).map_err(|error| error.to_string())?;
    let config: Configuration = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let version = config.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
    if !version.is_some_and(|version| VERSIONS.contains(&version)) || config.kind != "AuthenticationConfiguration" {
        return Err(format!("no kind {:?} is registered for version {:?}", config.kind, config.api_version));
    }
    config.check(disallowed)?;
    // As where kube-apiserver has no configuration of egress selectors: Orlop reaches everything itself.
    let egress = config.jwt.iter().map(|jwt| &jwt.issuer.egress_selector_type).find(|kind| !kind.is_empty());
    match egress {
        Some(kind) => Err(format!("oidc: egress lookup required with egress selector type {kind:?}")),
        None => Ok(config),
    }
}

impl Configuration {
    /// Of flags.
    pub fn of(jwt: JwtConfig) -> Self {
        Self { jwt: vec![jwt], ..Self::default() }
    }

    pub fn check(&self, disallowed: &[String]) -> Result<(), String> {
        let mut errors = ErrorList::default();
        self.validate(disallowed, &mut errors);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(format!("invalid authentication configuration: {}", errors.aggregate()))
        }
    }

    fn validate(&self, disallowed: &[String], errors: &mut ErrorList) {
        let root = Path::new("jwt");
        if self.jwt.len() > MAX_ISSUERS {
            return errors.too_many(&root, self.jwt.len(), MAX_ISSUERS);
        }
        let (mut issuers, mut discovery) = (BTreeSet::new(), BTreeSet::new());
        for (i, jwt) in self.jwt.iter().enumerate() {
            let path = root.index(i);
            jwt.issuer.validate(disallowed, &path.child("issuer"), errors);
            Mapping::compile(jwt, &path, errors);
            let path = path.child("issuer");
            if !issuers.insert(&jwt.issuer.url) {
                errors.duplicate(&path.child("url"), jwt.issuer.url.as_str());
            }
            if let Some(url) =
                jwt.issuer.discovery_url.as_deref().filter(|url| !url.is_empty() && !discovery.insert(*url))
            {
                errors.duplicate(&path.child("discoveryURL"), url);
            }
        }
        if let Some(anonymous) = self.anonymous.as_ref().filter(|it| !it.enabled && !it.conditions.is_empty()) {
            let paths: Vec<_> = anonymous.conditions.iter().map(|it| serde_json::json!({ "path": it.path })).collect();
            let why = "enabled should be set to true when conditions are defined";
            errors.invalid(&Path::new("anonymous").child("conditions"), paths, why);
        }
    }
}

impl AnonymousConfig {
    pub fn anonymous(&self) -> Anonymous {
        match self {
            Self { enabled: false, .. } => Anonymous::Nowhere,
            Self { conditions, .. } if conditions.is_empty() => Anonymous::Everywhere,
            Self { conditions, .. } => Anonymous::At(conditions.iter().map(|it| it.path.clone()).collect()),
        }
    }
}

impl IssuerEntry {
    fn validate(&self, disallowed: &[String], path: &Path<'_>, errors: &mut ErrorList) {
        if self.url.is_empty() {
            errors.required(&path.child("url"), "");
        } else {
            validate_url(&self.url, disallowed, &path.child("url"), errors);
        }
        if let Some(url) = self.discovery_url.as_deref().filter(|url| !url.is_empty()) {
            let path = path.child("discoveryURL");
            if !self.url.is_empty() && self.url.trim_end_matches('/') == url.trim_end_matches('/') {
                errors.invalid(&path, url, "discoveryURL must be different from URL");
            }
            validate_url(url, &[], &path, errors);
        }
        self.validate_audiences(path, errors);
        if !self.certificate_authority.is_empty() && !is_pem(&self.certificate_authority) {
            let why = "data does not contain any valid RSA or ECDSA certificates";
            errors.invalid(&path.child("certificateAuthority"), "<omitted>", why);
        }
        if !["", "controlplane", "cluster"].contains(&&*self.egress_selector_type) {
            let why = "egress selector must be either controlplane or cluster";
            errors.invalid(&path.child("egressSelectorType"), self.egress_selector_type.as_str(), why);
        }
    }

    fn validate_audiences(&self, issuer: &Path<'_>, errors: &mut ErrorList) {
        let path = issuer.child("audiences");
        if self.audiences.is_empty() {
            return errors.required(&path, format!("at least one {path} is required"));
        }
        for (i, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                errors.required(&path.index(i), "");
            }
            if self.audiences[..i].contains(audience) {
                errors.duplicate(&path.index(i), audience.as_str());
            }
        }
        let (path, policy) = (issuer.child("audienceMatchPolicy"), self.audience_match_policy.as_str());
        if self.audiences.len() > 1 && policy != "MatchAny" {
            errors.invalid(&path, policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
        }
        if self.audiences.len() == 1 && !["", "MatchAny"].contains(&policy) {
            errors.invalid(&path, policy, "audienceMatchPolicy must be empty or MatchAny for single audience");
        }
    }
}

fn validate_url(url: &str, disallowed: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    if disallowed.iter().any(|other| other == url) {
        let all = disallowed.join(" ");
        errors.invalid(path, url, format!("URL must not overlap with disallowed issuers: [{all}]"));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or_default();
    for (wrong, why) in [
        (scheme != "https", "URL scheme must be https"),
        (host.contains('@'), "URL must not contain a username or password"),
        (!query.is_empty(), "URL must not contain a query"),
        (!fragment.is_empty(), "URL must not contain a fragment"),
    ] {
        if wrong {
            errors.invalid(path, url, why);
        }
    }
}

fn is_pem(text: &str) -> bool {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut found = CertificateDer::pem_slice_iter(text.as_bytes());
    matches!(found.next(), Some(Ok(_))) && found.all(|certificate| certificate.is_ok())
}

/// Keys of extra fields that belong to Kubernetes.
pub fn validate_extra_key(key: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let parts: Vec<&str> = key.splitn(2, '/').collect();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    match parts.as_slice() {
        _ if key.is_empty() => errors.required(path, ""),
        [domain, rest] if !domain.is_empty() && !rest.is_empty() => {
            errors.each_invalid(path, domain, names::dns1123_subdomain(domain));
            if !rest.bytes().all(fits) {
                let why = names::pattern("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]);
                errors.invalid(path, *rest, why);
            }
        }
        _ => errors.invalid(path, key, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
    if key.chars().any(char::is_uppercase) {
        errors.invalid(path, key, "must be lowercase");
    }
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let ours = ["kubernetes.io", "k8s.io"];
    if ours.iter().any(|own| domain == *own || domain.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'))) {
        errors.invalid(path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    }
}
