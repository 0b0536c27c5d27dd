//! Encryption at rest (`--encryption-provider-config`): how objects are kept in the log
//! (`k8s.io/apiserver/pkg/server/options/encryptionconfig`).
//!
//! The file's first provider for a resource writes, all of them read. What lies there in another way than the first
//! provider's first key is written anew with the next update, also with one that changes nothing.

mod cipher;
mod config;
mod follow;
mod health;
pub(crate) mod kms;
pub(crate) mod metrics;
mod provider;
pub(crate) mod unreadable;
mod validation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use orlop_store::{Opened, SEALED_PREFIX, Transformer, UNEXPECTED};

use crate::review::metrics::ENCRYPTION;
use config::Configuration;
pub use config::EncryptionError;
use kms::{Kms, Worker};
use metrics::Way;
use provider::Provider;
use tokio::sync::watch;

/// The file's rules as they are now.
pub struct Encryption {
    path: PathBuf,
    rules: ArcSwap<Rules>,
    shared: kms::Shared,
}

struct Rules {
    /// Of the file's content.
    text: Vec<u8>,
    generation: u64,
    /// By group and resource, either of which may be `*`.
    providers: BTreeMap<(String, String), Vec<Arc<Provider>>>,
    /// Those of the providers that ask a plugin, in the file's order.
    kms: Vec<Arc<Kms>>,
}

impl Encryption {
    pub fn load(path: &Path) -> Result<Arc<Self>, EncryptionError> {
        let shared = kms::Shared { generation: Arc::new(AtomicU64::new(0)), recovered: watch::Sender::new(0) };
        let rules = Rules::load(path, &shared)?;
        ENCRYPTION.started(&rules.text);
        Ok(Arc::new(Self { path: path.to_owned(), rules: ArcSwap::from_pointee(rules), shared }))
    }

    /// Reads the file again; false when it says the same as before. What is wrong with it leaves everything as it is.
    pub fn reload(&self) -> Result<bool, EncryptionError> {
        if config::read(&self.path)? == self.rules.load().text {
            return Ok(false);
        }
        let rules = Rules::load(&self.path, &self.shared)?;
        rules.health().map_err(EncryptionError::Unwell)?;
        ENCRYPTION.succeeded(&rules.text);
        self.rules.store(Arc::new(rules));
        // A key may be back.
        self.shared.recovered.send_modify(|count| *count += 1);
        Ok(true)
    }

    /// Changes whenever what could not be read may be readable: [`orlop_store::Store::reread`].
    pub fn recoveries(&self) -> watch::Receiver<u64> {
        self.shared.recovered.subscribe()
    }
}

/// Keys are nobody's business.
impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Transformer for Encryption {
    fn seal(&self, resource: &str, path: &str, json: &[u8]) -> Option<Vec<u8>> {
        self.rules.load().of(resource)?.first()?.seal(resource, path.as_bytes(), json)
    }

    fn can_seal(&self, resource: &str, deletion: bool) -> Result<(), String> {
        let rules = self.rules.load();
        let first = rules.of(resource).and_then(|providers| providers.first()?.kms());
        let Some(kms) = first else { return Ok(()) };
        kms.can_seal(deletion).inspect_err(|why| Way::to_storage(resource).refused(kms.prefix(), &why.as_str().into()))
    }

    fn open(&self, resource: &str, path: &str, kept: &[u8]) -> Result<Opened, String> {
        match self.rules.load().of(resource) {
            Some(providers) => provider::open(providers, resource, path.as_bytes(), kept),
            None if kept.starts_with(SEALED_PREFIX) => Err(UNEXPECTED.into()),
            None => Ok(Opened { json: None, current: true }),
        }
    }

    fn generation(&self, resource: &str) -> u64 {
        let rules = self.rules.load();
        let Some(providers) = rules.of(resource) else { return 0 };
        let kms = providers.first().and_then(|provider| provider.kms());
        kms.map_or(0, |kms| kms.generation()).max(rules.generation)
    }
}

impl Rules {
    fn load(path: &Path, shared: &kms::Shared) -> Result<Self, EncryptionError> {
        let text = config::read(path)?;
        let configuration = Configuration::parse(path, &text)?;
        let worker = match configuration.kms().next() {
            Some(_) => Some(Arc::new(Worker::start().map_err(EncryptionError::Thread)?)),
            None => None,
        };
        let mut plugins = Vec::new();
        let mut providers: BTreeMap<(String, String), Vec<Arc<Provider>>> = BTreeMap::new();
        for block in configuration.resources {
            let make = |provider| Provider::new(provider, shared, worker.as_ref()).map(Arc::new);
            let made: Vec<Arc<Provider>> = block.providers.iter().filter_map(make).collect();
            plugins.extend(made.iter().filter_map(|provider| provider.kms().cloned()));
            for resource in &block.resources {
                let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
                let any = |group: &str| (group.to_owned(), "*".to_owned());
                // What an earlier wildcard covers is settled.
                let masked = [any(group), any("*")].iter().any(|wider| providers.contains_key(wider));
                let key = (group.to_owned(), plural.to_owned());
                if masked && !providers.contains_key(&key) {
                    tracing::warn!(resource, "an earlier wildcard covers this resource; the rule has no effect");
                    continue;
                }
                providers.entry(key).or_default().extend(made.iter().cloned());
            }
        }
        let generation = shared.generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self { text, generation, providers, kms: plugins })
    }

    /// What holds for a storage key (`secrets`, `apps/deployments`).
    fn of(&self, resource: &str) -> Option<&[Arc<Provider>]> {
        if self.providers.is_empty() {
            return None;
        }
        let (group, plural) = resource.split_once('/').unwrap_or(("", resource));
        let wanted = [(group, plural), (group, "*"), ("*", "*")];
        let find = |(group, plural): (&str, &str)| self.providers.get(&(group.to_owned(), plural.to_owned()));
        wanted.into_iter().find_map(find).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;

    fn key(name: &str, byte: u8) -> Value {
        json!({"name": name, "secret": STANDARD.encode([byte; 32])})
    }

    fn write(path: &Path, resources: &Value) {
        let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                          "resources": resources});
        std::fs::write(path, file.to_string()).expect("written");
    }

    #[test]
    fn the_first_key_writes_and_all_of_them_read() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("encryption.yaml");
        let rule = |keys: Value| json!([{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": keys}}, {"identity": {}}]}]);
        write(&path, &rule(json!([key("key1", 1)])));
        let encryption = Encryption::load(&path).expect("loaded");
        let at = "/registry/secrets/a/x";
        let sealed = encryption.seal("secrets", at, b"{}").expect("sealed");
        assert!(sealed.starts_with(b"k8s:enc:aesgcm:v1:key1:"));
        let opened = |json: Option<&[u8]>, current| Ok(Opened { json: json.map(<[u8]>::to_vec), current });
        assert_eq!(encryption.open("secrets", at, &sealed), opened(Some(b"{}"), true));
        assert_eq!(encryption.open("secrets", at, b"{}"), opened(None, false));
        let moved = encryption.open("secrets", "/registry/secrets/b/x", &sealed);
        assert_eq!(moved, Err("cipher: message authentication failed".into()));
        assert_eq!(encryption.generation("secrets"), 1);

        assert!(!encryption.reload().expect("the same"));
        write(&path, &rule(json!([key("key2", 2), key("key1", 1)])));
        assert!(encryption.reload().expect("reloaded"));
        assert_eq!(encryption.open("secrets", at, &sealed), opened(Some(b"{}"), false));
        assert_eq!(encryption.generation("secrets"), 2);
        write(&path, &rule(json!([key("key2", 2)])));
        assert!(encryption.reload().expect("reloaded"));
        assert_eq!(
            encryption.open("secrets", at, &sealed),
            Err("no matching key was found for the provided AES transformer".into())
        );
        std::fs::write(&path, "resources: []").expect("written");
        assert!(encryption.reload().is_err());
        assert_eq!(encryption.generation("secrets"), 3);
    }

    #[test]
    fn wildcards_cover_what_nothing_before_them_does() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("encryption.yaml");
        let block = |resources: Value, name: &str| json!({"resources": resources, "providers": [{"secretbox": {"keys": [key(name, 1)]}}]});
        write(
            &path,
            &json!([block(json!(["secrets", "deployments.apps"]), "one"), block(json!(["*.apps"]), "two"),
                    {"resources": ["pods"], "providers": [{"identity": {}}]},
                    block(json!(["*."]), "core"), block(json!(["*.*"]), "all")]),
        );
        let encryption = Encryption::load(&path).expect("loaded");
        for (resource, name) in [
            ("secrets", Some("one")),
            ("apps/deployments", Some("one")),
            ("apps/replicasets", Some("two")),
            ("pods", None),
            ("configmaps", Some("core")),
            ("example.com/widgets", Some("all")),
        ] {
            let sealed = encryption.seal(resource, "/registry/x", b"{}");
            let prefix = name.map(|name| format!("k8s:enc:secretbox:v1:{name}:"));
            match (sealed, prefix) {
                (Some(sealed), Some(prefix)) => assert!(sealed.starts_with(prefix.as_bytes()), "{resource}"),
                (sealed, prefix) => assert_eq!((sealed, prefix), (None, None), "{resource}"),
            }
        }
    }
}
