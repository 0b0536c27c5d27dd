//! What several tests need.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_store::disk::SimDisk;
use orlop_store::{Config, Draft, Key, Limits, OpenError, Revision, Snapshot, Store};
use serde_json::json;

pub fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key { resource: resource.into(), namespace: namespace.into(), name: name.into() }
}

pub fn pod(name: &str) -> Key {
    key("pods", "default", name)
}

/// About `bytes` long.
pub fn draft(text: &str, bytes: usize) -> Draft {
    Draft::encode(&json!({"metadata": {"name": "x"}, "text": text, "fill": "x".repeat(bytes)}))
}

pub fn limits(segment_bytes: u64) -> Limits {
    Limits { segment_bytes, ..Limits::default() }
}

pub async fn open(disk: &SimDisk, segment_bytes: u64) -> Result<Store, OpenError> {
    Store::open(Config::on(Arc::new(disk.clone())).with_limits(limits(segment_bytes))).await
}

/// Revision and bytes by key.
pub type Picture = BTreeMap<Key, (Revision, Vec<u8>)>;

pub fn picture(snapshot: &Snapshot) -> Picture {
    snapshot.state().entries().map(|e| (e.key.clone(), (e.revision, e.json.to_vec()))).collect()
}
