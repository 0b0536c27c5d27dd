//! Providers: what they put in front of what they seal, and how what lies there finds the one that reads it
//! (`k8s.io/apiserver/pkg/storage/value`, `prefixTransformers`).

use std::sync::Arc;

use orlop_store::{Opened, SEALED_PREFIX};

use super::cipher::Cipher;
use super::config::{self, ProviderConfiguration};
use super::kms::{self, Kms, Worker};

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
    /// With their names.
    keys: Vec<(String, Cipher)>,
}

impl Provider {
    /// From a configuration that has been validated.
    pub fn new(
        configuration: &ProviderConfiguration,
        shared: &kms::Shared,
        worker: Option<&Arc<Worker>>,
    ) -> Option<Self> {
        let keys = |prefix, family, list: &[config::Key], cipher: fn(&[u8]) -> Option<Cipher>| {
            let keys = list.iter().filter_map(|key| Some((key.name.clone(), cipher(&key.bytes()?)?))).collect();
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

    /// `None`: the object stays as it is.
    pub fn seal(&self, path: &[u8], json: &[u8]) -> Option<Vec<u8>> {
        let Keys { prefix, keys, .. } = match self {
            Self::Identity => return None,
            Self::Kms(kms) => return Some(kms.seal(path, json)),
            Self::Keys(keys) => keys,
        };
        let (name, cipher) = keys.first()?;
        let mut out = Vec::with_capacity(json.len() + prefix.len() + name.len() + 64);
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        cipher.seal(json, path, &mut out);
        Some(out)
    }
}

/// What is kept, read by whichever provider wrote it. Every provider that its prefix names is tried.
pub fn open(providers: &[Arc<Provider>], path: &[u8], kept: &[u8]) -> Result<Opened, String> {
    let mut failures = Vec::new();
    for (place, provider) in providers.iter().enumerate() {
        let opened = match &**provider {
            Provider::Identity if !kept.starts_with(SEALED_PREFIX) => {
                return Ok(Opened { json: None, current: place == 0 });
            }
            Provider::Identity => None,
            Provider::Keys(keys) => keys.open(path, kept),
            Provider::Kms(kms) => kms.open(path, kept),
        };
        match opened {
            Some(Ok((json, current))) => return Ok(Opened { json: Some(json), current: current && place == 0 }),
            Some(Err(why)) => failures.push(why),
            None => {}
        }
    }
    Err(match failures.as_slice() {
        [] => "no matching prefix found".into(),
        one => aggregate(one),
    })
}

impl Keys {
    /// `None`: another provider's. The object, and whether the first key sealed it.
    fn open(&self, path: &[u8], kept: &[u8]) -> Option<Result<(Vec<u8>, bool), String>> {
        let rest = kept.strip_prefix(self.prefix.as_bytes())?;
        let mut failures = Vec::new();
        for (place, (name, cipher)) in self.keys.iter().enumerate() {
            let Some(sealed) = rest.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) else {
                continue;
            };
            match cipher.open(sealed, path) {
                Ok(json) => return Some(Ok((json, place == 0))),
                Err(why) => failures.push(why),
            }
        }
        Some(Err(match failures.as_slice() {
            [] => format!("no matching key was found for the provided {} transformer", self.family),
            some => aggregate(some),
        }))
    }
}

/// As upstream's aggregate prints: one bare, several in brackets.
pub fn aggregate(failures: &[String]) -> String {
    match failures {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
