//! Providers: what they put in front of what they seal, and how what lies there finds the one that reads it
//! (`k8s.io/apiserver/pkg/storage/value`, `prefixTransformers`).

use std::sync::Arc;

use orlop_base::grpc::Code;
use orlop_store::{Opened, SEALED_PREFIX};

use super::cipher::Cipher;
use super::config::{self, ProviderConfiguration};
use super::kms::{self, Kms, Worker};
use super::metrics::Way;

pub enum Provider {
    /// Objects as they are.
    Identity,
    Keys(Keys),
    /// Keys that a plugin has.
    Kms(Arc<Kms>),
}

/// Keys of one cipher; the first one seals.
pub struct Keys {
    /// `k8s:enc:aesgcm:v1:`
    prefix: &'static str,
    /// What upstream calls it where none of them fits.
    family: &'static str,
    /// With what each puts in front: `key1:`.
    keys: Vec<(String, Cipher)>,
}

/// Why something cannot be sealed or opened.
#[derive(Debug)]
pub struct Refusal {
    pub why: String,
    /// The plugin's, if it is its fault.
    pub code: Option<Code>,
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(why: T) -> Self {
        Self { why: why.into(), code: None }
    }
}

impl Provider {
    /// From a configuration that has been validated.
    pub fn new(
        configuration: &ProviderConfiguration,
        shared: &kms::Shared,
        worker: Option<&Arc<Worker>>,
    ) -> Option<Self> {
        let keys = |prefix, family, list: &[config::Key], cipher: fn(&[u8]) -> Option<Cipher>| {
            let keys = list.iter().filter_map(|key| Some((format!("{}:", key.name), cipher(&key.bytes()?)?))).collect();
            Some(Self::Keys(Keys { prefix, family, keys }))
        };
        let ProviderConfiguration { aesgcm, aescbc, secretbox, identity, kms } = configuration;
        if let Some(list) = aesgcm {
            return keys("k8s:enc:aesgcm:v1:", "AES", &list.keys, Cipher::gcm);
        }
        if let Some(list) = aescbc {
            return keys("k8s:enc:aescbc:v1:", "AES", &list.keys, Cipher::cbc);
        }
        if let Some(list) = secretbox {
            return keys("k8s:enc:secretbox:v1:", "Secretbox", &list.keys, Cipher::secretbox);
        }
        if let (Some(kms), Some(worker)) = (kms, worker) {
            return Some(Self::Kms(Kms::start(kms, shared.clone(), worker.clone())));
        }
        identity.as_ref().map(|_| Self::Identity)
    }

    pub fn kms(&self) -> Option<&Arc<Kms>> {
        match self {
            Self::Kms(kms) => Some(kms),
            Self::Identity | Self::Keys(_) => None,
        }
    }

    /// What stands in front of what it seals.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Identity => "",
            Self::Keys(keys) => keys.prefix,
            Self::Kms(kms) => kms.prefix(),
        }
    }

    /// `None`: the object stays as it is.
    pub fn seal(&self, resource: &str, path: &[u8], json: &[u8]) -> Option<Vec<u8>> {
        let way = Way::to_storage(resource);
        way.timed(self.prefix(), || match self {
            Self::Identity => None,
            Self::Keys(keys) => keys.seal(way, path, json),
            Self::Kms(kms) => Some(kms.seal(path, json)),
        })
    }
}

/// What is kept, read by whichever provider wrote it. Every provider that its prefix names is tried.
pub fn open(providers: &[Arc<Provider>], resource: &str, path: &[u8], kept: &[u8]) -> Result<Opened, String> {
    let way = Way::from_storage(resource);
    let mut failures = Vec::new();
    for (place, provider) in providers.iter().enumerate() {
        let Some(sealed) = kept.strip_prefix(provider.prefix().as_bytes()) else { continue };
        let opened = match &**provider {
            Provider::Identity if kept.starts_with(SEALED_PREFIX) => continue,
            Provider::Identity => {
                return Ok(way.timed("identity", || Opened { json: None, current: place == 0 }));
            }
            Provider::Keys(keys) => way.measured(keys.prefix, || keys.open(way, path, sealed)),
            Provider::Kms(kms) => way.measured(kms.prefix(), || kms.open(path, sealed)),
        };
        match opened {
            Ok((json, current)) => return Ok(Opened { json: Some(json), current: current && place == 0 }),
            Err(refusal) => failures.push(refusal.why),
        }
    }
    Err(unopened(way, "no matching prefix found", &failures))
}

/// Why nobody could open something; whose it is not even is noted.
fn unopened(way: Way<'_>, nobody: &str, failures: &[String]) -> String {
    if failures.is_empty() {
        way.refused("unknown", &nobody.into());
        return nobody.to_owned();
    }
    aggregate(failures)
}

impl Keys {
    fn seal(&self, way: Way<'_>, path: &[u8], json: &[u8]) -> Option<Vec<u8>> {
        let (name, cipher) = self.keys.first()?;
        let mut out = Vec::with_capacity(json.len() + self.prefix.len() + name.len() + 64);
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(name.as_bytes());
        way.timed(name, || cipher.seal(json, path, &mut out));
        Some(out)
    }

    /// The object, and whether the first key sealed it.
    fn open(&self, way: Way<'_>, path: &[u8], kept: &[u8]) -> Result<(Vec<u8>, bool), Refusal> {
        let mut failures = Vec::new();
        for (place, (name, cipher)) in self.keys.iter().enumerate() {
            let Some(sealed) = kept.strip_prefix(name.as_bytes()) else { continue };
            match way.measured(name, || Ok(cipher.open(sealed, path)?)) {
                Ok(json) => return Ok((json, place == 0)),
                Err(refusal) => failures.push(refusal.why),
            }
        }
        let nobody = format!("no matching key was found for the provided {} transformer", self.family);
        Err(unopened(way, &nobody, &failures).into())
    }
}

/// As upstream's aggregate prints: one bare, several in brackets.
pub fn aggregate(failures: &[String]) -> String {
    match failures {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
