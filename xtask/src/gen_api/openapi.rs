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
    /// (`core_v1_ServicePort`, field) -> the values it may have, which the published documents do not list.
    enums: BTreeMap<(String, String), Value>,
}

impl Documents {
    /// Of the `k8s.io/kubernetes` module.
    pub fn read(kubernetes: &Path) -> anyhow::Result<Self> {
        let generated = kubernetes.join("pkg/generated/openapi/zz_generated.openapi.go");
        let generated = std::fs::read_to_string(&generated).with_context(|| format!("read {}", generated.display()))?;
        let enums = enums(&generated)?;
        let folder = kubernetes.join("api/openapi-spec");
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
        Ok(Self { definitions, defaults, enums })
    }

    /// The schema of a type; `None` for types that are on the wire but not in the documents.
    pub fn definition(&self, name: &str) -> Option<&Value> {
        self.definitions.get(name)
    }

    pub fn default(&self, name: &str, field: &str) -> Option<&Value> {
        self.defaults.get(&(name.to_owned(), field.to_owned()))
    }

    /// `package` is an import path.
    pub fn enumeration(&self, package: &str, name: &str, field: &str) -> Option<&Value> {
        let (rest, version) = package.rsplit_once('/')?;
        let group = rest.rsplit('/').next()?;
        self.enums.get(&(format!("{group}_{version}_{name}"), field.to_owned()))
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

/// The generated code is laid out alike everywhere: a function for each type, properties at five tabs.
fn enums(code: &str) -> anyhow::Result<BTreeMap<(String, String), Value>> {
    let mut enums = BTreeMap::new();
    let (mut ty, mut field) = (String::new(), "");
    for line in code.lines() {
        if let Some(name) = line.strip_prefix("func schema_").and_then(|rest| rest.split('(').next()) {
            let parts: Vec<&str> = name.rsplitn(4, '_').take(3).collect();
            ty = parts.into_iter().rev().collect::<Vec<_>>().join("_");
        } else if let Some(name) = line.strip_prefix("\t\t\t\t\t\"").and_then(|rest| rest.strip_suffix("\": {")) {
            field = name;
        } else if let Some(values) = line.trim_start().strip_prefix("Enum:") {
            let list = values.trim().trim_start_matches("[]interface{}{").trim_end_matches("},");
            let list = serde_json::from_str(&format!("[{list}]")).with_context(|| format!("values of {ty}.{field}"))?;
            enums.insert((ty.clone(), field.to_owned()), list);
        }
    }
    Ok(enums)
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
}
