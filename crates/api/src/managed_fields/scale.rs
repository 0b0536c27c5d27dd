//! Ownership of `spec.replicas` seen through the `scale` subresource, which is an object of its own.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::element::PathElement;
use super::entries::{DecodeError, ManagerId, Managers, Owned, decode, drop_empty, encode};
use super::set::FieldSet;
use crate::kind::{Kind, KindInfo};

/// Where a kind keeps its replicas: `spec.replicas` for the built-in ones, by apiVersion.
pub struct Replicas<'a> {
    pub paths: &'a [(&'a str, &'a str)],
    /// The apiVersion of the request.
    pub api_version: &'a str,
}

const SCALE_API_VERSION: &str = "autoscaling/v1";

/// `autoscaling/v1` Scale for a [`super::FieldManager`]; it is served by no path of its own.
#[derive(Clone, Copy, Debug)]
pub struct Scale;

static INFO: LazyLock<KindInfo> = LazyLock::new(|| crate::kinds::unlisted("autoscaling", "Scale", "scales"));

impl Kind for Scale {
    fn info(&self) -> &KindInfo {
        &INFO
    }
}

impl Replicas<'_> {
    /// The parent's entries as the Scale object's.
    pub fn to_scale(&self, parent: &Value) -> Result<Value, DecodeError> {
        let mut scale = Managers::new();
        for (id, owned) in decode(parent.clone(), true)? {
            if self.path(&owned.api_version).is_some_and(|path| owned.set().has(&path)) {
                let replicas = FieldSet::of_fields(&["spec.replicas"]);
                scale.insert(id, Owned::new(SCALE_API_VERSION, replicas, owned.time));
            }
        }
        Ok(encode(scale))
    }

    /// The parent's entries after a write to the Scale object: who no longer owns the Scale's replicas
    /// lost them in the parent too.
    pub fn to_parent(&self, parent: &Value, scale: &Value) -> Result<Value, DecodeError> {
        let mut replicas = FieldSet::default();
        if let Some(path) = self.path(self.api_version) {
            replicas.insert(&path);
        }
        let mut owners: BTreeMap<ManagerId, Owned> = BTreeMap::new();
        for (id, owned) in decode(scale.clone(), true)? {
            if owned.touches(&FieldSet::of_fields(&["spec.replicas"])) {
                owners.insert(without_version(id), owned);
            }
        }
        let mut entries = Managers::new();
        for (id, mut owned) in decode(parent.clone(), true)? {
            // Entries of versions that are no longer served go.
            let Some(path) = self.path(&owned.api_version) else { continue };
            let mut here = FieldSet::default();
            here.insert(&path);
            if owned.touches(&here) && owners.remove(&without_version(id.clone())).is_none() {
                owned.change(|set| set.difference(&here));
            }
            entries.insert(id, owned);
        }
        for (id, owned) in owners {
            let api_version = if id.applied { String::new() } else { self.api_version.to_owned() };
            let entry = entries
                .entry(ManagerId { api_version, ..id })
                .or_insert_with(|| Owned::new(self.api_version, FieldSet::default(), None));
            entry.change(|set| set.union(replicas.clone()));
            entry.time = owned.time;
        }
        drop_empty(&mut entries);
        Ok(encode(entries))
    }

    fn path(&self, api_version: &str) -> Option<Vec<PathElement>> {
        let (_, path) = self.paths.iter().find(|(version, _)| *version == api_version)?;
        Some(path.split('.').map(PathElement::field).collect())
    }
}

/// The same manager writes the Scale in another version than the parent.
fn without_version(id: ManagerId) -> ManagerId {
    ManagerId { api_version: String::new(), ..id }
}
