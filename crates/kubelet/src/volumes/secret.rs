//! secret: the keys of a Secret as files in memory.

use super::Setup;
use super::atomic_writer::Payload;
use super::config_map::Keys;
use crate::corev1::{Secret, SecretVolumeSource};
use crate::env::Found;

pub async fn content(setup: &Setup<'_>, source: &SecretVolumeSource) -> Result<Payload, String> {
    let keys = Keys {
        items: source.items.as_deref().unwrap_or_default(),
        default_mode: source.default_mode,
        default_user: source.default_user,
        optional: source.optional == Some(true),
    };
    payload(setup, source.secret_name.as_deref().unwrap_or_default(), &keys).await
}

pub async fn payload(setup: &Setup<'_>, name: &str, keys: &Keys<'_>) -> Result<Payload, String> {
    let secrets = &setup.context.objects.secrets;
    let secret = match secrets.get(setup.pod.uid(), setup.pod.namespace(), name).await {
        Found::Object(secret) => secret,
        Found::Missing if keys.optional => std::sync::Arc::new(Secret::default()),
        Found::Missing => return Err(format!("secret \"{name}\" not found")),
        Found::Failed(why) => return Err(why),
    };
    let data = secret.data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice()));
    keys.files(&data.collect(), |key| format!("references non-existent secret key: {key}"))
}
