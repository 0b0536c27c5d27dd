//! configMap: the keys of a ConfigMap as files.

use std::collections::BTreeMap;

use super::Setup;
use super::atomic_writer::{File, Payload};
use crate::corev1::{ConfigMap, ConfigMapVolumeSource, KeyToPath};
use crate::env::Found;

/// Mode of files when the spec does not say (it always does, by its default).
pub const DEFAULT_MODE: i32 = 0o644;

pub async fn content(setup: &Setup<'_>, source: &ConfigMapVolumeSource) -> Result<Payload, String> {
    let keys = Keys {
        items: source.items.as_deref().unwrap_or_default(),
        default_mode: source.default_mode,
        default_user: source.default_user,
        optional: source.optional == Some(true),
    };
    payload(setup, &source.name, &keys).await
}

/// Which keys are wanted, and how their files look.
pub struct Keys<'a> {
    pub items: &'a [KeyToPath],
    pub default_mode: Option<i32>,
    pub default_user: Option<i64>,
    pub optional: bool,
}

impl Keys<'_> {
    /// Files of `data`; `missing` says what a wanted key that is not there means.
    pub fn files(&self, data: &BTreeMap<&str, &[u8]>, missing: impl Fn(&str) -> String) -> Result<Payload, String> {
        let file = |data: &[u8], mode: Option<i32>, user: Option<i64>| File {
            data: data.to_vec(),
            mode: mode.or(self.default_mode).unwrap_or(DEFAULT_MODE) as u32 & 0o7777,
            user: user.or(self.default_user).and_then(|user| u32::try_from(user).ok()),
        };
        if self.items.is_empty() {
            return Ok(data.iter().map(|(key, data)| ((*key).to_owned(), file(data, None, None))).collect());
        }
        let mut payload = Payload::new();
        for item in self.items {
            match data.get(item.key.as_str()) {
                Some(data) => {
                    payload.insert(item.path.clone(), file(data, item.mode, item.user));
                }
                None if self.optional => {}
                None => return Err(missing(&item.key)),
            }
        }
        Ok(payload)
    }
}

pub async fn payload(setup: &Setup<'_>, name: &str, keys: &Keys<'_>) -> Result<Payload, String> {
    let maps = &setup.context.objects.config_maps;
    let map = match maps.get(setup.pod.uid(), setup.pod.namespace(), name).await {
        Found::Object(map) => map,
        Found::Missing if keys.optional => std::sync::Arc::new(ConfigMap::default()),
        Found::Missing => return Err(format!("configmap \"{name}\" not found")),
        Found::Failed(why) => return Err(why),
    };
    let text = map.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice()));
    keys.files(&text.chain(binary).collect(), |key| format!("configmap references non-existent config key: {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_or_those_named() {
        let data: BTreeMap<&str, &[u8]> = [("a", b"1".as_slice()), ("b", b"2")].into();
        let missing = |key: &str| format!("no {key}");
        let keys = |items, optional| Keys { items, default_mode: Some(0o600), default_user: None, optional };
        let all = keys(&[], false).files(&data, missing).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(all["a"].mode, 0o600);
        let item =
            |key: &str| KeyToPath { key: key.into(), path: format!("p/{key}"), mode: Some(0o444), user: Some(7) };
        let items = [item("b"), item("zz")];
        assert_eq!(keys(&items, false).files(&data, missing).unwrap_err(), "no zz");
        let some = keys(&items, true).files(&data, missing).unwrap();
        assert_eq!(some["p/b"], File { data: b"2".to_vec(), mode: 0o444, user: Some(7) });
    }
}
