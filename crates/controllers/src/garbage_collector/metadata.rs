//! The few facts about an object that decide its fate, of whatever kind it is.

use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orlop_client::Object;
use serde::Deserialize;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

/// Part of `metav1.PartialObjectMetadata`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub terminating: bool,
    pub finalizers: Vec<String>,
    pub owners: Vec<OwnerReference>,
}

impl Metadata {
    /// Deletion has begun and waits for this finalizer.
    pub fn waits_for(&self, finalizer: &str) -> bool {
        self.terminating && self.has_finalizer(finalizer)
    }

    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|f| f == finalizer)
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    metadata: WireMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireMetadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
    finalizers: Vec<String>,
    owner_references: Vec<OwnerReference>,
}

impl Object for Metadata {
    const ACCEPT: &'static str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
    const ACCEPT_LIST: &'static str =
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        let wire = serde_json::from_slice::<Wire>(json)?.metadata;
        Ok(Self {
            name: wire.name,
            namespace: wire.namespace,
            uid: wire.uid,
            resource_version: wire.resource_version,
            terminating: wire.deletion_timestamp.is_some(),
            finalizers: wire.finalizers,
            owners: wire.owner_references,
        })
    }
    /// Metadata alone is never sent.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn namespace(&self) -> &str {
        &self.namespace
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
    fn owner_uids(&self) -> Vec<(&str, bool)> {
        self.owners.iter().map(|o| (o.uid.as_str(), o.controller == Some(true))).collect()
    }
    fn trimmed(self) -> Self {
        self
    }
}
