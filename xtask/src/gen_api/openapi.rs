//! The published OpenAPI documents: list and patch semantics, required fields, defaults, kinds.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

pub struct Documents {
    /// Definition name -> schema, from the one v2 document.
    definitions: BTreeMap<String, Value>,
    /// (definition name, field) -> default, from the v3 documents (v2 has none).
    defaults: BTreeMap<(String, String), Value>,
}

impl Documents {
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let swagger = read_json(&folder.join("swagger.json"))?;
        let definitions =
            object(&swagger["definitions"]).map(|(name, schema)| (name.clone(), schema.clone())).collect();
        let mut defaults = BTreeMap::new();
        for entry in std::fs::read_dir(folder.join("v3")).context("list the v3 documents")? {
            let document = read_json(&entry?.path())?;
            for (name, schema) in object(&document["components"]["schemas"]) {
                for (field, property) in object(&schema["properties"]) {
                    if let Some(default) = property.get("default") {
                        defaults.insert((name.clone(), field.clone()), default.clone());
                    }
                }
            }
        }
        Ok(Self { definitions, defaults })
    }

    /// The schema of a type; `None` for types that are on the wire but not in the documents.
    pub fn definition(&self, name: &str) -> Option<&Value> {
        self.definitions.get(name)
    }

    pub fn default(&self, name: &str, field: &str) -> Option<&Value> {
        self.defaults.get(&(name.to_owned(), field.to_owned()))
    }

    /// The groups and versions in which a type is a kind (`v1`, `apps/v1`).
    pub fn api_versions(&self, name: &str) -> Vec<String> {
        let kinds = self.definition(name).and_then(|d| d["x-kubernetes-group-version-kind"].as_array());
        kinds.into_iter().flatten().map(|gvk| api_version(text(&gvk["group"]), text(&gvk["version"]))).collect()
    }
}

pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
}
