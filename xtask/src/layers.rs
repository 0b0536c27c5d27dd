//! Holds ARCHITECTURE.md's layer table against the manifests: arrows point only down.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Fails with every dependency that points up or sideways, and every crate the table misses.
pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let layers = layers(&std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(&root)
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let wrong = violations(&layers, &metadata);
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

/// Crate -> layer, from the rows `| L3 | server scheduler ... |`.
fn layers(text: &str) -> BTreeMap<String, u32> {
    let mut layers = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(layer), Some(crates)) = (cells.next(), cells.next()) else { continue };
        if let Some(layer) = layer.strip_prefix('L').and_then(|n| n.parse().ok()) {
            layers.extend(crates.split_whitespace().map(|name| (name.to_owned(), layer)));
        }
    }
    layers
}

fn violations(layers: &BTreeMap<String, u32>, metadata: &Value) -> Vec<String> {
    let short = |name: &str| name.strip_prefix("orlop-").unwrap_or(name).to_owned();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut wrong = Vec::new();
    for package in packages {
        let name = short(package["name"].as_str().unwrap_or_default());
        if name == "xtask" {
            continue;
        }
        let Some(layer) = layers.get(&name) else {
            wrong.push(format!("{name} stands in no layer of ARCHITECTURE.md"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // Tests may look anywhere.
            if dependency["kind"] == "dev" || dependency["path"].is_null() {
                continue;
            }
            let below = short(dependency["name"].as_str().unwrap_or_default());
            if layers.get(&below).is_none_or(|other| other >= layer) {
                wrong.push(format!("{name} (L{layer}) depends on {below}, which is not below it"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_workspace_keeps_its_layers() {
        run().unwrap();
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        let layers = layers("| L1 | api |\n| L3 | server kubelet |\n| crate | one line |\n");
        let package = |name: &str, on: &[&str]| {
            let dependencies: Vec<Value> =
                on.iter().map(|d| json!({"name": format!("orlop-{d}"), "kind": null, "path": "x"})).collect();
            json!({"name": format!("orlop-{name}"), "dependencies": dependencies})
        };
        let found = |packages: Vec<Value>| violations(&layers, &json!({ "packages": packages }));
        assert!(found(vec![package("server", &["api"])]).is_empty());
        assert_eq!(found(vec![package("server", &["kubelet"])]).len(), 1);
        assert_eq!(found(vec![package("api", &["server"])]).len(), 1);
        assert_eq!(found(vec![package("other", &[])]), ["other stands in no layer of ARCHITECTURE.md"]);
    }
}
