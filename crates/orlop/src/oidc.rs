//! OpenID issuers, from flags or from a file.

use anyhow::{Context, Result, bail};
use orlop_server::authn::Anonymous;
use orlop_server::authn::jwt::{
    ALGORITHMS, ClaimRule, Configuration, IssuerEntry, Issuers, JwtConfig, JwtReload, Mappings, Source,
};

use crate::security::Arguments;

type Found = (Option<(Issuers, Option<JwtReload>)>, Anonymous);

/// Issuers, and where callers without credentials are let in. `own` are the issuers of ServiceAccount tokens.
pub fn issuers(arguments: &Arguments, own: &[String], audiences: Vec<String>) -> Result<Found> {
    let flag = if arguments.anonymous_auth == Some(false) { Anonymous::Nowhere } else { Anonymous::Everywhere };
    let Some(file) = &arguments.authentication_config else {
        return Ok((from_flags(arguments, own, audiences)?.map(|issuers| (issuers, None)), flag));
    };
    if has_flags(arguments) {
        bail!("authentication-config file and oidc-* flags are mutually exclusive");
    }
    let algorithms = ALGORITHMS.map(str::to_owned);
    let reload = JwtReload::read(file, &algorithms, own).map_err(anyhow::Error::msg)?;
    let anonymous = match &reload.config().anonymous {
        Some(_) if arguments.anonymous_auth.is_some() => bail!(
            "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in \
             authentication configuration file"
        ),
        Some(config) => config.anonymous(),
        None => flag,
    };
    let issuers = Issuers::new(reload.config(), &algorithms, audiences);
    Ok((Some((issuers, Some(reload))), anonymous))
}

fn has_flags(arguments: &Arguments) -> bool {
    let texts = [
        &arguments.oidc_issuer_url,
        &arguments.oidc_client_id,
        &arguments.oidc_username_claim,
        &arguments.oidc_username_prefix,
        &arguments.oidc_groups_claim,
        &arguments.oidc_groups_prefix,
    ];
    texts.into_iter().any(Option::is_some)
        || arguments.oidc_ca_file.is_some()
        || arguments.oidc_signing_algs.is_some()
        || !arguments.oidc_required_claim.is_empty()
}

fn from_flags(arguments: &Arguments, own: &[String], audiences: Vec<String>) -> Result<Option<Issuers>> {
    if !has_flags(arguments) {
        return Ok(None);
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (Some(url), Some(client)) = (given(&arguments.oidc_issuer_url), given(&arguments.oidc_client_id)) else {
        bail!("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    };
    let algorithms = arguments.oidc_signing_algs.clone().unwrap_or_else(|| vec!["RS256".to_owned()]);
    if let Some(unknown) = algorithms.iter().find(|name| !ALGORITHMS.contains(&name.as_str())) {
        bail!("oidc: unsupported signing alg: {unknown:?}");
    }
    let certificate_authority = match &arguments.oidc_ca_file {
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("--oidc-ca-file: reading {}", file.display()))?
        }
        None => String::new(),
    };
    let groups = given(&arguments.oidc_groups_claim).map(|claim| Source {
        claim,
        prefix: Some(arguments.oidc_groups_prefix.clone().unwrap_or_default()),
        ..Source::default()
    });
    let username = username(arguments, &url);
    let config = Configuration::of(JwtConfig {
        issuer: IssuerEntry { url, audiences: vec![client], certificate_authority, ..IssuerEntry::default() },
        claim_validation_rules: arguments.oidc_required_claim.iter().map(|text| rule(text)).collect::<Result<_>>()?,
        claim_mappings: Mappings { username, groups: groups.unwrap_or_default(), ..Mappings::default() },
        ..JwtConfig::default()
    });
    config.check(own).map_err(anyhow::Error::msg)?;
    Ok(Some(Issuers::new(&config, &algorithms, audiences)))
}

/// Names of different issuers must not meet; addresses cannot.
fn username(arguments: &Arguments, url: &str) -> Source {
    let claim = arguments.oidc_username_claim.clone().unwrap_or_else(|| "sub".to_owned());
    let prefix = match arguments.oidc_username_prefix.as_deref().unwrap_or_default() {
        "" if claim != "email" => format!("{url}#"),
        "-" => String::new(),
        prefix => prefix.to_owned(),
    };
    Source { claim, prefix: Some(prefix), ..Source::default() }
}

fn rule(text: &str) -> Result<ClaimRule> {
    let (claim, value) = text.split_once('=').with_context(|| format!("{text} must be formatted as key=value"))?;
    let (claim, required_value) = (claim.trim().to_owned(), value.trim().to_owned());
    Ok(ClaimRule { claim, required_value, ..ClaimRule::default() })
}
