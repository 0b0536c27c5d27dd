//! The OCI image format and docker's older twin, as far as a node reads and writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::{ImageConfig, ImageError};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Full name of the image in an archive's index, as containerd writes it.
pub const ANNOTATION_IMAGE_NAME: &str = "io.containerd.image.name";
/// Tag, or with some tools the full name.
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Largest manifest or index accepted: what registries themselves limit them to.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Largest image config accepted; real ones are a few kilobytes.
pub const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Docker's own limit on layers is 127; overlayfs takes 500.
pub const LAYERS_MAX: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Other places to fetch the blob from ("foreign" layers); refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

impl Descriptor {
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
            urls: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

/// What a tag can point at.
#[derive(Clone, Debug)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Told apart by what they hold: media types are missing or wrong too often.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let malformed = |error: serde_json::Error| ImageError::Malformed(format!("image manifest: {error}"));
        let value: Value = serde_json::from_slice(bytes).map_err(malformed)?;
        if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            return Err(ImageError::Malformed("image manifest: schema 1 is no longer supported".into()));
        }
        if value.get("manifests").is_some() {
            return serde_json::from_value(value).map(Document::Index).map_err(malformed);
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(malformed)?;
        if manifest.layers.len() > LAYERS_MAX {
            return Err(ImageError::Malformed(format!(
                "image manifest: {} layers, more than {LAYERS_MAX}",
                manifest.layers.len()
            )));
        }
        Ok(Document::Manifest(manifest))
    }
}

/// This machine's name in indexes.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The entry for this machine. An entry without a platform is taken when it is the only one.
pub fn select(index: &Index) -> Result<&Descriptor, ImageError> {
    let fits = |d: &&Descriptor| {
        d.platform.as_ref().is_some_and(|p| {
            p.os == "linux" && p.architecture == architecture() && matches!(p.variant.as_str(), "" | "v8" | "v1")
        })
    };
    let unnamed: Vec<&Descriptor> = index.manifests.iter().filter(|d| d.platform.is_none()).collect();
    index
        .manifests
        .iter()
        .find(fits)
        .or(if let [only] = unnamed[..] { Some(only) } else { None })
        .ok_or_else(|| ImageError::NotFound(format!("no match for platform in manifest: linux/{}", architecture())))
}

/// The image config document: how to run it, and its layers' uncompressed digests, bottom first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigFile {
    pub config: ImageConfig,
    pub diff_ids: Vec<Digest>,
}

impl ConfigFile {
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            config: Option<Value>,
            rootfs: RootFs,
        }
        #[derive(Deserialize)]
        struct RootFs {
            diff_ids: Vec<Digest>,
        }
        let malformed = |error: serde_json::Error| ImageError::Malformed(format!("image config: {error}"));
        let file: File = serde_json::from_slice(bytes).map_err(malformed)?;
        let config = match file.config {
            Some(Value::Object(fields)) => {
                // Go writes empty lists and maps as null.
                let present = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
                serde_json::from_value(Value::Object(present)).map_err(malformed)?
            }
            _ => ImageConfig::default(),
        };
        Ok(Self { config, diff_ids: file.rootfs.diff_ids })
    }

    /// The document for a new image; no time of building, so that the same input has the same digest.
    pub fn render(&self) -> Vec<u8> {
        let mut config = serde_json::to_value(&self.config).unwrap_or_default();
        if let Some(fields) = config.as_object_mut() {
            fields.retain(|_, value| !is_empty(value));
        }
        let document = serde_json::json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        });
        document.to_string().into_bytes()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_with_nulls_parses_and_renders_back() {
        let diff = Digest::of(b"layer");
        let text = format!(
            r#"{{"config":{{"Env":null,"Cmd":["sh"],"Labels":null,"User":"nobody","OnBuild":null,
               "ExposedPorts":{{"80/tcp":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#
        );
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.config.cmd, ["sh"]);
        assert_eq!(file.config.user, "nobody");
        assert!(file.config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(ConfigFile::parse(&file.render()).unwrap(), file);
    }

    #[test]
    fn platform_is_chosen() {
        let of = |architecture: &str, os: &str, name: &str| {
            let mut d = Descriptor::new(OCI_MANIFEST, Digest::of(name.as_bytes()), 1);
            d.platform = Some(Platform { architecture: architecture.into(), os: os.into(), variant: String::new() });
            d
        };
        let other = if architecture() == "amd64" { "arm64" } else { "amd64" };
        let mut index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.into(),
            manifests: vec![
                of(other, "linux", "a"),
                of(architecture(), "windows", "b"),
                of(architecture(), "linux", "c"),
            ],
        };
        assert_eq!(select(&index).unwrap().digest, Digest::of(b"c"));
        index.manifests.pop();
        assert!(select(&index).unwrap_err().to_string().contains("no match for platform"));
        index.manifests = vec![Descriptor::new(OCI_MANIFEST, Digest::of(b"d"), 1)];
        assert_eq!(select(&index).unwrap().digest, Digest::of(b"d"));
    }
}
