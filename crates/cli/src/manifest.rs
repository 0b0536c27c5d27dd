//! Objects from files, directories and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use orlop_api::codec::yaml;
use serde_json::Value;

/// `-f`, `-R`.
#[derive(Args, Clone, Debug, Default)]
pub struct Files {
    /// Files or directories of manifests; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<PathBuf>,
    /// Descend into directories
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// A manifest file larger than this is none (etcd takes 1.5 MiB per object).
const MAX_BYTES: u64 = 64 << 20;

impl Files {
    pub fn is_empty(&self) -> bool {
        self.filename.is_empty()
    }

    /// Every object, in the order of files and documents; Lists are taken apart.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let mut objects = Vec::new();
        for path in &self.filename {
            if path.as_os_str() == "-" {
                read(std::io::stdin(), "standard input", &mut objects)?;
                continue;
            }
            for file in files(path, self.recursive)? {
                let opened = std::fs::File::open(&file)
                    .with_context(|| format!("the path \"{}\" cannot be read", file.display()))?;
                read(opened, &file.display().to_string(), &mut objects)?;
            }
        }
        if objects.is_empty() {
            bail!("no objects passed");
        }
        Ok(objects)
    }
}

fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        if !path.exists() {
            bail!("the path \"{}\" does not exist", path.display());
        }
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let is_manifest = entry.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if entry.is_dir() && recursive {
            found.extend(files(&entry, true)?);
        } else if entry.is_file() && is_manifest {
            found.push(entry);
        }
    }
    Ok(found)
}

fn read(from: impl Read, name: &str, objects: &mut Vec<Value>) -> Result<()> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES).read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
    let documents = yaml::from_yaml_all(&bytes).with_context(|| format!("error parsing {name}"))?;
    for document in documents.into_iter().filter(|d| !d.is_null()) {
        unfold(document, name, objects)?;
    }
    Ok(())
}

fn unfold(object: Value, name: &str, objects: &mut Vec<Value>) -> Result<()> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    if text("kind").ends_with("List") && object["items"].is_array() {
        for item in object["items"].as_array().into_iter().flatten() {
            unfold(item.clone(), name, objects)?;
        }
        return Ok(());
    }
    for field in ["apiVersion", "kind"] {
        if text(field).is_empty() {
            bail!("error validating \"{name}\": {field} not set");
        }
    }
    objects.push(object);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lists_and_directories_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\n");
        write(
            "a.yml",
            "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n",
        );
        write("notes.txt", "not yaml: [");
        let files = Files { filename: vec![dir.path().to_owned()], recursive: false };
        let names: Vec<String> = files.objects().unwrap().iter().map(|o| orlop_api::meta::name(o).to_owned()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        write("b.yaml", "kind: Secret\n");
        assert!(files.objects().unwrap_err().to_string().contains("apiVersion not set"));
        let missing = Files { filename: vec!["/nonexistent.yaml".into()], recursive: false };
        assert_eq!(missing.objects().unwrap_err().to_string(), "the path \"/nonexistent.yaml\" does not exist");
    }
}
