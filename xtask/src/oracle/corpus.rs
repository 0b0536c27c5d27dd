//! The committed half of the corpus: `conformance/oracle/objects` holds valid objects of every kind and what is
//! changed in them by hand, `conformance/oracle/scripts` requests in an order that matters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use orlop_api::kind::{Kind, KindInfo};
use orlop_api::{Value, kinds, meta};
use serde_json::Map;

/// Everything about one kind in one version.
pub struct Subject {
    pub kind: &'static dyn Kind,
    pub version: String,
    /// Objects that upstream takes, by name of the case; `minimal` and `maximal` first.
    pub valid: Vec<(String, Value)>,
    /// Objects made of those by hand.
    pub cases: Vec<(String, Value)>,
    /// To be written through the status subresource of the first valid object.
    pub status: Option<Value>,
    /// Metadata is spoiled too.
    pub all_metadata: bool,
    /// Too much would follow from one of these being there (a webhook, an aggregated API).
    pub never_stored: bool,
}

impl Subject {
    pub fn info(&self) -> &'static KindInfo {
        self.kind.info()
    }

    /// `deployments.apps`; with its version where a group serves several.
    pub fn label(&self) -> String {
        let info = self.info();
        let version = if info.versions.len() > 1 { format!("/{}", self.version) } else { String::new() };
        if info.group.is_empty() { info.plural.to_string() } else { format!("{}.{}{version}", info.plural, info.group) }
    }

    /// The path of all objects, or of those of the object's namespace.
    pub fn collection(&self, namespace: &str) -> String {
        let info = self.info();
        let api_version = info.api_version(&self.version);
        let root = if info.group.is_empty() { format!("/api/{api_version}") } else { format!("/apis/{api_version}") };
        if info.namespaced && !namespace.is_empty() {
            format!("{root}/namespaces/{namespace}/{}", info.plural)
        } else {
            format!("{root}/{}", info.plural)
        }
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.info().verbs.iter().any(|v| v == verb)
    }
}

/// The folder of the corpus in this checkout.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/oracle")
}

/// Every subject in order of file names.
pub fn subjects() -> Result<Vec<Subject>> {
    files(&folder().join("objects"))?
        .iter()
        .map(|path| read(path).with_context(|| path.display().to_string()))
        .collect()
}

/// Every script: its name and its steps.
pub fn scripts() -> Result<Vec<(String, Vec<Value>)>> {
    let script = |path: &PathBuf| -> Result<(String, Vec<Value>)> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Value::Array(steps) = yaml(path)? else { bail!("{} is no list of steps", path.display()) };
        Ok((name, steps))
    };
    files(&folder().join("scripts"))?.iter().map(script).collect()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    Ok(paths)
}

fn yaml(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    orlop_api::codec::yaml::from_yaml(&text).with_context(|| path.display().to_string())
}

fn read(path: &Path) -> Result<Subject> {
    let file = yaml(path)?;
    let text = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
    let (api_version, name) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = kinds::by_kind(group, version, &name).with_context(|| format!("no kind {name} in {api_version}"))?;
    let mut valid = Vec::new();
    for key in ["minimal", "maximal"] {
        if let Some(object) = file.get(key) {
            valid.push((key.to_owned(), complete(kind.info(), &api_version, key, object)));
        }
    }
    for (key, object) in entries(&file["also"]) {
        valid.push((key.clone(), complete(kind.info(), &api_version, key, object)));
    }
    let by_name: BTreeMap<&str, &Value> = valid.iter().map(|(name, object)| (name.as_str(), object)).collect();
    let mut cases = Vec::new();
    for (key, case) in entries(&file["cases"]) {
        let of = case["of"].as_str().unwrap_or("minimal");
        let object = by_name.get(of).with_context(|| format!("case {key} is of {of}, which is not there"))?;
        cases.push((key.clone(), changed(object, case).with_context(|| format!("case {key}"))?));
    }
    Ok(Subject {
        kind,
        version: version.to_owned(),
        valid,
        cases,
        status: file.get("status").cloned(),
        all_metadata: file["allMetadata"] == true,
        never_stored: file["neverStored"] == true,
    })
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// With what every object of the file has: its kind, a name of its own, the corpus' namespace.
fn complete(info: &KindInfo, api_version: &str, key: &str, object: &Value) -> Value {
    let mut object = if object.is_object() { object.clone() } else { Value::Object(Map::new()) };
    let has_name = !meta::name(&object).is_empty() || !meta::get(&object, "generateName").is_empty();
    if !has_name && info.verbs.iter().any(|v| v == "get") {
        meta::set(&mut object, "name", key.to_lowercase());
    }
    if info.namespaced && meta::namespace(&object).is_empty() {
        meta::set(&mut object, "namespace", super::NAMESPACE);
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = (*info.kind).into();
    object
}

/// `set` and `remove` name fields as JSON pointers.
fn changed(object: &Value, case: &Value) -> Result<Value> {
    let mut object = object.clone();
    for (pointer, value) in entries(&case["set"]) {
        set(&mut object, pointer, value.clone())?;
    }
    for pointer in case["remove"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (parent, key) = pointer.rsplit_once('/').context("a pointer begins with a slash")?;
        let parent = object.pointer_mut(parent).with_context(|| format!("nothing at {parent}"))?;
        match parent {
            Value::Object(fields) => drop(fields.remove(&unescape(key))),
            Value::Array(items) => drop(items.remove(key.parse()?)),
            _ => bail!("nothing at {pointer}"),
        }
    }
    Ok(object)
}

fn set(object: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let mut at = object;
    let steps: Vec<String> = pointer.split('/').skip(1).map(unescape).collect();
    for step in &steps {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Array(items) => {
                if step == "-" {
                    items.push(Value::Null);
                }
                let item = if step == "-" { items.len() - 1 } else { step.parse()? };
                items.get_mut(item).with_context(|| format!("no item {step} in {pointer}"))?
            }
            fields => &mut fields[step.as_str()],
        };
    }
    *at = value;
    Ok(())
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind nobody judges is a kind nobody knows.
    #[test]
    fn the_corpus_has_every_kind_in_every_version() {
        let subjects = subjects().expect("the corpus can be read");
        let covered: Vec<(String, String)> =
            subjects.iter().map(|s| (s.info().api_version(&s.version), s.info().kind.to_string())).collect();
        let mut missing = Vec::new();
        for kind in kinds::all() {
            let info = kind.info();
            if !info.verbs.iter().any(|v| v == "create") {
                continue;
            }
            for version in info.versions.iter() {
                let name = (info.api_version(version), info.kind.to_string());
                if !covered.contains(&name) {
                    missing.push(name);
                }
            }
        }
        assert!(missing.is_empty(), "no objects for {missing:?}");
    }

    #[test]
    fn the_scripts_can_be_read() {
        for (name, steps) in scripts().expect("the scripts can be read") {
            assert!(steps.iter().all(|s| s["ask"].is_string()), "{name} has a step that asks nothing");
        }
    }
}
