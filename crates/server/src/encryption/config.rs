//! `apiserver.config.k8s.io/v1 EncryptionConfiguration`.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_api::codec::yaml::from_yaml;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::validation;

/// Upstream's words while the feature gate is off, as it is by default since 1.29.
const KMS_V1: &str = "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set \
                      --feature-gates=KMSv1=true to use the deprecated KMSv1 feature.";

const KMS_TIMEOUT_NANOS: i64 = 3_000_000_000;

#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    #[error("error while loading file: error reading encryption provider configuration file {path:?}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("error while loading file: encryption provider configuration file {0:?} is empty")]
    Empty(String),
    #[error("error decoding encryption provider configuration file {path:?}: {why}")]
    Decode { path: String, why: String },
    #[error("{0}")]
    Invalid(String),
    #[error("error while building transformers: {0}")]
    Build(&'static str),
    #[error("starting the thread that talks to key managers: {0}")]
    Thread(std::io::Error),
    #[error("a KMS provider of the new configuration is not well: {0}")]
    Unwell(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Configuration {
    pub resources: Vec<Block>,
}

/// Resources, and who writes and reads them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Block {
    pub resources: Vec<String>,
    pub providers: Vec<ProviderConfiguration>,
}

/// One of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProviderConfiguration {
    pub aesgcm: Option<KeyList>,
    pub aescbc: Option<KeyList>,
    pub secretbox: Option<KeyList>,
    pub identity: Option<Value>,
    pub kms: Option<KmsConfiguration>,
}

/// A plugin that holds the keys.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct KmsConfiguration {
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    pub name: String,
    pub cachesize: Option<i32>,
    pub endpoint: String,
    /// Of one call, in nanoseconds.
    #[serde(deserialize_with = "duration")]
    pub timeout: i64,
}

impl Default for KmsConfiguration {
    fn default() -> Self {
        let (name, endpoint) = (String::new(), String::new());
        Self { api_version: "v1".into(), name, cachesize: None, endpoint, timeout: KMS_TIMEOUT_NANOS }
    }
}

impl KmsConfiguration {
    pub fn timeout(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.timeout).unwrap_or_default())
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map_or(Ok(KMS_TIMEOUT_NANOS), |text| orlop_base::duration::parse(&text).map_err(D::Error::custom))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct KeyList {
    pub keys: Vec<Key>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Key {
    pub name: String,
    /// Base64.
    pub secret: String,
}

/// Only how many there are is for everybody's eyes.
impl std::fmt::Debug for KeyList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl Key {
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.secret).ok()
    }
}

pub fn read(path: &Path) -> Result<Vec<u8>, EncryptionError> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|source| EncryptionError::Read { path: name.clone(), source })?;
    if text.is_empty() { Err(EncryptionError::Empty(name)) } else { Ok(text) }
}

impl Configuration {
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, EncryptionError> {
        let failed = |why: String| EncryptionError::Decode { path: path.display().to_string(), why };
        let document = from_yaml(text).map_err(|error| failed(error.to_string()))?;
        let field = |name: &str| document[name].as_str().unwrap_or_default();
        let (api_version, kind) = (field("apiVersion"), field("kind"));
        if (api_version, kind) != ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") {
            return Err(failed(format!("no kind {kind:?} is registered for version {api_version:?}")));
        }
        let configuration: Self = serde_json::from_value(document).map_err(|error| failed(error.to_string()))?;
        let errors = validation::validate(&configuration);
        if !errors.is_empty() {
            return Err(EncryptionError::Invalid(errors.aggregate()));
        }
        if configuration.kms().any(|kms| kms.api_version == "v1") {
            return Err(EncryptionError::Build(KMS_V1));
        }
        Ok(configuration)
    }

    pub fn kms(&self) -> impl Iterator<Item = &KmsConfiguration> {
        self.resources.iter().flat_map(|block| &block.providers).filter_map(|provider| provider.kms.as_ref())
    }
}
