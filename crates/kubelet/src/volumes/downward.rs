//! downwardAPI: what a pod says of itself, as files.

use super::Setup;
use super::atomic_writer::{File, Payload};
use super::config_map::DEFAULT_MODE;
use crate::corev1::{Container, DownwardAPIVolumeFile};
use crate::env::fields::{FieldView, resource};

pub fn content(
    setup: &Setup<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    default_mode: Option<i32>,
    default_user: Option<i64>,
) -> Result<Payload, String> {
    let mut payload = Payload::new();
    let mut errors = Vec::new();
    for item in items.unwrap_or_default() {
        match value(setup, item) {
            Ok(text) => {
                let mode = item.mode.or(default_mode).unwrap_or(DEFAULT_MODE) as u32 & 0o7777;
                let user = item.user.or(default_user).and_then(|user| u32::try_from(user).ok());
                payload.insert(item.path.clone(), File { data: text.into_bytes(), mode, user });
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(payload) } else { Err(errors.join(", ")) }
}

fn value(setup: &Setup<'_>, item: &DownwardAPIVolumeFile) -> Result<String, String> {
    if let Some(field) = &item.field_ref {
        let host_ips = &setup.context.config.node_ips;
        return FieldView { pod: setup.pod, host_ips, pod_ips: &[] }.value(&field.field_path);
    }
    if let Some(selector) = &item.resource_field_ref {
        // A volume belongs to no container: the selector names one.
        return resource(setup.pod, &Container::default(), selector, &setup.context.allocatable);
    }
    Ok(String::new())
}
