//! projected: several sources in one directory, among them ServiceAccount tokens and certificates.

use super::atomic_writer::{File, Payload};
use super::config_map::{self, DEFAULT_MODE, Keys};
use super::{Content, Setup, downward, earliest, pod_certificate, secret, trust_bundle};
use crate::corev1::{PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection, VolumeProjection};

pub async fn content(setup: &Setup<'_>, volume: &str, source: &ProjectedVolumeSource) -> Result<Content, String> {
    let mut all = Content { payload: Payload::new(), refresh_nanos: None };
    let mut errors = Vec::new();
    for (index, projection) in source.sources.iter().flatten().enumerate() {
        match one(setup, source, projection, (volume, index)).await {
            Ok(content) => {
                all.payload.extend(content.payload);
                all.refresh_nanos = earliest(all.refresh_nanos, content.refresh_nanos);
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.as_slice() {
        [] => Ok(all),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

async fn one(
    setup: &Setup<'_>,
    source: &ProjectedVolumeSource,
    projection: &VolumeProjection,
    place: (&str, usize),
) -> Result<Content, String> {
    let (default_mode, default_user) = (source.default_mode, source.default_user);
    if let Some(map) = &projection.config_map {
        let items = map.items.as_deref().unwrap_or_default();
        let keys = Keys { items, default_mode, default_user, optional: map.optional == Some(true) };
        return config_map::payload(setup, &map.name, &keys).await.map(Content::from);
    }
    if let Some(of_secret) = &projection.secret {
        let items = of_secret.items.as_deref().unwrap_or_default();
        let keys = Keys { items, default_mode, default_user, optional: of_secret.optional == Some(true) };
        return secret::payload(setup, &of_secret.name, &keys).await.map(Content::from);
    }
    if let Some(fields) = &projection.downward_api {
        let content = downward::content(setup, fields.items.as_deref(), default_mode, default_user);
        return content.map(Content::from);
    }
    if let Some(account) = &projection.service_account_token {
        return token(setup, source, account).await;
    }
    if let Some(bundle) = &projection.cluster_trust_bundle {
        let data = trust_bundle::content(setup, bundle).await?;
        let file = narrow(setup, source, bundle.user, data);
        return Ok(Payload::from([(bundle.path.clone(), file)]).into());
    }
    match &projection.pod_certificate {
        Some(certificate) => certified(setup, source, certificate, place).await,
        None => Ok(Payload::new().into()),
    }
}

async fn token(
    setup: &Setup<'_>,
    source: &ProjectedVolumeSource,
    account: &ServiceAccountTokenProjection,
) -> Result<Content, String> {
    let context = setup.context;
    let audience = account.audience.as_deref().unwrap_or_default();
    let token = context.tokens.get(&context.client, setup.pod, audience, account.expiration_seconds, setup.now).await?;
    let file = narrow(setup, source, account.user, token.text.into_bytes());
    Ok(Content { payload: [(account.path.clone(), file)].into(), refresh_nanos: Some(token.refresh_nanos) })
}

/// The key and its certificates, together or apart.
async fn certified(
    setup: &Setup<'_>,
    source: &ProjectedVolumeSource,
    certificate: &PodCertificateProjection,
    place: (&str, usize),
) -> Result<Content, String> {
    let made = pod_certificate::get(setup, certificate, place).await?;
    let files = [
        (&certificate.credential_bundle_path, format!("{}{}", made.key, made.chain)),
        (&certificate.key_path, made.key),
        (&certificate.certificate_chain_path, made.chain),
    ];
    let wanted = files.into_iter().filter_map(|(path, text)| Some((path.clone().filter(|p| !p.is_empty())?, text)));
    let payload = wanted.map(|(path, text)| (path, narrow(setup, source, certificate.user, text.into_bytes())));
    Ok(Content { payload: payload.collect(), refresh_nanos: made.refresh_nanos })
}

/// Where somebody in particular is to read it, nobody else may. A group gets in by its ownership.
fn narrow(setup: &Setup<'_>, source: &ProjectedVolumeSource, user: Option<i64>, data: Vec<u8>) -> File {
    let asked = user.or(source.default_user).and_then(|user| u32::try_from(user).ok());
    let user = asked.or_else(|| setup.fs_user());
    let narrow = user.is_some() || setup.fs_group().is_some();
    let mode = if narrow { 0o600 } else { source.default_mode.unwrap_or(DEFAULT_MODE) as u32 & 0o7777 };
    File { data, mode, user }
}
