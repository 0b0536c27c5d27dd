//! Flags about who may do what, under the names kube-apiserver has them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use orlop_server::SecurityConfig;
use orlop_server::admission;
use orlop_server::authn::webhook::TokenWebhook;
use orlop_server::authn::{AuthorityFile, RequestHeaders, TokenAuthenticator, TokenFile};
use orlop_server::authz::{Link, Reload, abac, config, webhook};
use orlop_server::pki::{PublicKey, SigningKey};
use orlop_server::token::{External, IssuerConfig};

#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Authentication and authorization")]
pub struct Arguments {
    /// Let callers without credentials in, as system:anonymous [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub anonymous_auth: Option<bool>,
    /// Who the API server is to bearers of tokens [default: the first issuer]
    #[arg(long, value_name = "AUDIENCE", value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// Static tokens: lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Let Secrets of type bootstrap.kubernetes.io/token in kube-system authenticate machines that join
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_bootstrap_token_auth: bool,
    /// Authorities of client certificates besides our own, from a file that may change
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Refuse tokens in Secrets whose Secret or ServiceAccount is gone
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub service_account_lookup: bool,
    /// Let pods' tokens live for a year, for programs that read them only once
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub service_account_extend_token_expiration: bool,
    /// Where others find the keys of ServiceAccount tokens [default: this server]
    #[arg(long, value_name = "URL")]
    pub service_account_jwks_uri: Option<String>,
    /// Issuers of ServiceAccount tokens: the first of new ones, all of accepted ones
    #[arg(long, value_name = "URL")]
    pub service_account_issuer: Vec<String>,
    /// Keys that ServiceAccount tokens are verified by, besides the one that signs
    #[arg(long, value_name = "FILE")]
    pub service_account_key_file: Vec<PathBuf>,
    /// Key that signs ServiceAccount tokens [default: one that is made and kept]
    #[arg(long, value_name = "FILE")]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// Socket of a program that signs ServiceAccount tokens instead: a path, or '@' and the name of an abstract one
    #[arg(long, value_name = "SOCKET")]
    pub service_account_signing_endpoint: Option<String>,
    /// Longest life of a requested token
    #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
    pub service_account_max_token_expiration: Option<i64>,
    /// OpenID issuer of tokens
    #[arg(long, value_name = "URL")]
    pub oidc_issuer_url: Option<String>,
    /// Who its tokens must be for
    #[arg(long, value_name = "ID")]
    pub oidc_client_id: Option<String>,
    /// Authority of its certificate [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// Claim that names the user [default: sub]
    #[arg(long, value_name = "CLAIM")]
    pub oidc_username_claim: Option<String>,
    /// What stands before the user's name; '-' for nothing [default: the issuer and '#', nothing for email]
    #[arg(long, value_name = "PREFIX")]
    pub oidc_username_prefix: Option<String>,
    /// Claim that names the user's groups
    #[arg(long, value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,
    /// What stands before the groups' names
    #[arg(long, value_name = "PREFIX")]
    pub oidc_groups_prefix: Option<String>,
    /// What its tokens may be signed with [default: RS256]
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',')]
    pub oidc_signing_algs: Option<Vec<String>>,
    /// Claims that tokens must have, as key=value
    #[arg(long, value_name = "CLAIM=VALUE")]
    pub oidc_required_claim: Vec<String>,
    /// Issuers with expressions, and where callers without credentials are let in, from a file that may change
    #[arg(long, value_name = "FILE")]
    pub authentication_config: Option<PathBuf>,
    /// A webhook that knows bearers of tokens, in kubeconfig format
    #[arg(long, value_name = "FILE")]
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// Version of TokenReview it is asked with
    #[arg(long, value_name = "VERSION", default_value = "v1beta1")]
    pub authentication_token_webhook_version: String,
    /// How long its answers are remembered
    #[arg(long, value_name = "DURATION", value_parser = duration_seconds, default_value = "2m")]
    pub authentication_token_webhook_cache_ttl: i64,
    /// Authority of authenticating proxies, besides our own
    #[arg(long, value_name = "FILE")]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of proxies' certificates; none: any
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub requestheader_allowed_names: Option<Vec<String>>,
    /// Headers that name the user
    #[arg(long, value_name = "HEADER", value_delimiter = ',', default_value = "X-Remote-User")]
    pub requestheader_username_headers: Vec<String>,
    /// Headers that give the user's uid
    #[arg(long, value_name = "HEADER", value_delimiter = ',', default_value = "X-Remote-Uid")]
    pub requestheader_uid_headers: Vec<String>,
    /// Headers that name the user's groups
    #[arg(long, value_name = "HEADER", value_delimiter = ',', default_value = "X-Remote-Group")]
    pub requestheader_group_headers: Vec<String>,
    /// Prefixes of headers that tell more of the user
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', default_value = "X-Remote-Extra-")]
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// Who decides, in this order: Node, RBAC, Webhook, ABAC, AlwaysAllow, AlwaysDeny [default: Node,RBAC]
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    pub authorization_mode: Vec<String>,
    /// The same, with several webhooks and conditions, from a file that may change
    #[arg(long, value_name = "FILE")]
    pub authorization_config: Option<PathBuf>,
    /// Policies of mode ABAC, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub authorization_policy_file: Option<PathBuf>,
    /// The webhook of mode Webhook, in kubeconfig format
    #[arg(long, value_name = "FILE")]
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// Version of SubjectAccessReview it is asked with [default: v1beta1]
    #[arg(long, value_name = "VERSION")]
    pub authorization_webhook_version: Option<String>,
    /// How long its permissions are remembered [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
    pub authorization_webhook_cache_authorized_ttl: Option<i64>,
    /// How long its refusals are remembered [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration_seconds)]
    pub authorization_webhook_cache_unauthorized_ttl: Option<i64>,
    /// Admission plugins that run besides those that do by default
    #[arg(long, value_name = "PLUGIN", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// Admission plugins that do not run
    #[arg(long, value_name = "PLUGIN", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// How long pods stay on a node that is not ready, unless they say it themselves
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub default_not_ready_toleration_seconds: i64,
    /// How long pods stay on a node out of reach, unless they say it themselves
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub default_unreachable_toleration_seconds: i64,
    /// Configurations of admission plugins
    #[arg(long, value_name = "FILE")]
    pub admission_control_config_file: Option<PathBuf>,
}

/// A duration as Go writes it, in whole seconds.
fn duration_seconds(text: &str) -> Result<i64, String> {
    orlop_server::review::seconds(text)
}

/// Parts of letters, digits, `_` and `-`, with dots between them.
fn is_abstract_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.split('.').all(|part| !part.is_empty() && part.chars().all(allowed))
}

fn authorities(purpose: &str, file: Option<&Path>) -> Result<Option<AuthorityFile>, String> {
    file.map(|file| AuthorityFile::read(purpose, file)).transpose()
}

impl Arguments {
    pub fn config(&self, cluster_domain: &str) -> Result<SecurityConfig> {
        let (chain, reload) = self.chain()?;
        let token_file = self.token_auth_file.as_deref().map(TokenFile::read).transpose();
        let key = self.service_account_signing_key_file.as_deref().map(SigningKey::read).transpose();
        let issuer = self.issuer(cluster_domain)?;
        let own = [&[issuer.issuer.clone()][..], &issuer.other_issuers].concat();
        let audiences = if issuer.audiences.is_empty() { own.clone() } else { issuer.audiences.clone() };
        let webhook = self.token_webhook(&audiences)?;
        let (issuers, anonymous) = crate::oidc::issuers(self, &own, audiences)?;
        Ok(SecurityConfig {
            issuer,
            signing_key: key.context("--service-account-signing-key-file")?.map(Arc::new),
            // Asked once everything else is found good.
            external_signer: None,
            token_file: token_file.context("--token-auth-file")?,
            bootstrap_tokens: self.enable_bootstrap_token_auth,
            token_authenticators: webhook.into_iter().collect(),
            issuers,
            request_headers: self.request_headers(),
            client_authorities: authorities("client-ca-bundle", self.client_ca_file.as_deref())
                .map_err(|error| anyhow!("unable to load client CA provider: {error}"))?,
            proxy_authorities: authorities("request-header", self.requestheader_client_ca_file.as_deref())
                .map_err(|error| anyhow!("unable to create request header authentication config: {error}"))?,
            anonymous,
            chain,
            reload,
            admission: self.admission()?,
        })
    }

    /// Asks the program that signs tokens, if there is one, what it can do.
    pub async fn open_signer(&self, config: &mut SecurityConfig) -> Result<()> {
        let endpoint = self.service_account_signing_endpoint.as_deref();
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else { return Ok(()) };
        if self.service_account_signing_key_file.is_some() || !self.service_account_key_file.is_empty() {
            bail!(
                "can't set `--service-account-signing-key-file` and/or `--service-account-key-file` with \
                 `--service-account-signing-endpoint` (They are mutually exclusive)"
            );
        }
        if endpoint.strip_prefix('@').is_some_and(|name| !is_abstract_name(name)) {
            bail!(
                "invalid value {endpoint:?} passed for `--service-account-signing-endpoint`, when prefixed with @ must \
                 be a valid abstract socket name"
            );
        }
        let external = External::open(endpoint).await.context("while setting up external-jwt-signer")?;
        let most = external.max_expiration_seconds;
        let issuer = &mut config.issuer;
        if let Some(asked) = issuer.max_expiration_seconds.filter(|asked| *asked > most) {
            bail!(
                "service-account-max-token-expiration cannot be set longer than the token expiration supported by \
                 service-account-signing-endpoint: {asked}s > {most}s"
            );
        }
        issuer.max_expiration_seconds.get_or_insert(most);
        issuer.max_extended_seconds = issuer.max_extended_seconds.min(most);
        config.external_signer = Some(Arc::new(external));
        Ok(())
    }

    fn admission(&self) -> Result<admission::Choice> {
        let config = self.admission_control_config_file.as_deref().map(admission::Configuration::read).transpose();
        let config = config.map_err(anyhow::Error::msg)?.unwrap_or_default();
        let choice = admission::Choice::new(&self.enable_admission_plugins, &self.disable_admission_plugins, &config);
        let mut choice = choice.map_err(anyhow::Error::msg)?;
        choice.plugins.push(Arc::new(admission::DefaultTolerationSeconds {
            not_ready_seconds: self.default_not_ready_toleration_seconds,
            unreachable_seconds: self.default_unreachable_toleration_seconds,
        }));
        Ok(choice)
    }

    fn token_webhook(&self, audiences: &[String]) -> Result<Option<Arc<dyn TokenAuthenticator>>> {
        let Some(file) = &self.authentication_token_webhook_config_file else { return Ok(None) };
        let life = Duration::from_secs(self.authentication_token_webhook_cache_ttl.max(0).unsigned_abs());
        let version = &self.authentication_token_webhook_version;
        let webhook = TokenWebhook::open(file, version, life, audiences.to_vec());
        Ok(Some(Arc::new(webhook.context("--authentication-token-webhook-config-file")?)))
    }

    fn issuer(&self, cluster_domain: &str) -> Result<IssuerConfig> {
        let mut issuers = self.service_account_issuer.clone();
        for (i, issuer) in issuers.iter().enumerate() {
            if issuer.is_empty() {
                bail!("service-account-issuer should not be an empty string");
            }
            if issuers[..i].contains(issuer) {
                bail!("service-account-issuer {issuer:?} is already specified");
            }
        }
        if issuers.is_empty() {
            issuers.push(format!("https://kubernetes.default.svc.{cluster_domain}"));
        }
        let jwks_uri = self.service_account_jwks_uri.clone().filter(|uri| !uri.is_empty());
        if let Some(uri) = jwks_uri.as_ref().filter(|uri| !uri.starts_with("https://")) {
            bail!("service-account-jwks-uri requires https scheme, parsed as: {uri}");
        }
        let mut other_keys = Vec::new();
        for file in &self.service_account_key_file {
            other_keys.extend(PublicKey::read_all(file).context("--service-account-key-file")?);
        }
        Ok(IssuerConfig {
            issuer: issuers.remove(0),
            other_issuers: issuers,
            audiences: self.api_audiences.clone(),
            max_extended_seconds: IssuerConfig::default().max_extended_seconds,
            max_expiration_seconds: self.service_account_max_token_expiration.filter(|seconds| *seconds > 0),
            other_keys,
            lookup: self.service_account_lookup,
            extend_expiration: self.service_account_extend_token_expiration,
            jwks_uri,
        })
    }

    fn request_headers(&self) -> RequestHeaders {
        let default = RequestHeaders::default();
        let given = |names: &[String]| names.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>();
        let mut allowed_names = self.requestheader_allowed_names.as_deref().map(given).unwrap_or_default();
        if !allowed_names.is_empty() || self.requestheader_client_ca_file.is_none() {
            // Our own proxies go on.
            allowed_names.extend(default.allowed_names);
        }
        RequestHeaders {
            username: self.requestheader_username_headers.clone(),
            uid: given(&self.requestheader_uid_headers),
            group: given(&self.requestheader_group_headers),
            extra_prefix: given(&self.requestheader_extra_headers_prefix),
            allowed_names,
        }
    }

    fn chain(&self) -> Result<(Vec<Link>, Option<Reload>)> {
        let policies = self.authorization_policy_file.as_deref().map(abac::Policies::read).transpose()?.map(Arc::new);
        if let Some(file) = &self.authorization_config {
            if self.has_chain_flags() {
                bail!(
                    "--authorization-config can not be specified when --authorization-mode or \
                     --authorization-webhook-* flags are defined"
                );
            }
            let (reload, chain) = Reload::read(file, policies).map_err(anyhow::Error::msg)?;
            return Ok((chain, Some(reload)));
        }
        let default = ["Node".to_owned(), "RBAC".to_owned()];
        let modes = if self.authorization_mode.is_empty() { &default[..] } else { &self.authorization_mode };
        self.check_modes(modes)?;
        let links = modes.iter().map(|mode| match (&**mode, &self.authorization_webhook_config_file) {
            ("Webhook", Some(file)) => self.webhook(file),
            _ => Ok(Link::of(config::of_name(mode, policies.as_ref()).map_err(anyhow::Error::msg)?)),
        });
        Ok((links.collect::<Result<_>>()?, None))
    }

    fn has_chain_flags(&self) -> bool {
        !self.authorization_mode.is_empty()
            || self.authorization_webhook_config_file.is_some()
            || self.authorization_webhook_version.is_some()
            || self.authorization_webhook_cache_authorized_ttl.is_some()
            || self.authorization_webhook_cache_unauthorized_ttl.is_some()
    }

    fn check_modes(&self, modes: &[String]) -> Result<()> {
        let has = |mode: &str| modes.iter().any(|one| one == mode);
        if (1..modes.len()).any(|i| modes[..i].contains(&modes[i])) {
            bail!("authorization-mode {modes:?} has mode specified more than once");
        }
        if has("Webhook") && self.authorization_webhook_config_file.is_none() {
            bail!("authorization-mode Webhook's authorization config file not passed");
        }
        if !has("Webhook") && self.authorization_webhook_config_file.is_some() {
            bail!("cannot specify --authorization-webhook-config-file without mode Webhook");
        }
        if !has("ABAC") && self.authorization_policy_file.is_some() {
            bail!("cannot specify --authorization-policy-file without mode ABAC");
        }
        Ok(())
    }

    fn webhook(&self, file: &Path) -> Result<Link> {
        let seconds = |given: Option<i64>, default| {
            given.map_or(default, |seconds| Duration::from_secs(seconds.max(0).unsigned_abs()))
        };
        let version = self.authorization_webhook_version.clone().unwrap_or_else(|| "v1beta1".to_owned());
        let settings = webhook::Settings {
            authorized_ttl: seconds(self.authorization_webhook_cache_authorized_ttl, config::AUTHORIZED_TTL),
            unauthorized_ttl: seconds(self.authorization_webhook_cache_unauthorized_ttl, config::UNAUTHORIZED_TTL),
            version,
            deny_on_failure: false,
        };
        webhook::Webhook::link("default", file, settings).context("--authorization-webhook-config-file")
    }
}
