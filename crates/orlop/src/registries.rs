//! `registries.yaml`: how registries are reached.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use orlop_api::codec::yaml;
use orlop_image::Hosts;

/// Where the file is unless a flag says otherwise.
pub const FILE: &str = "/etc/orlop/registries.yaml";

/// What the file says; without a file, registries are reached by their names.
pub fn read(path: &Path) -> Result<Hosts> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Hosts::default()),
        bytes => bytes.with_context(|| format!("reading {}", path.display()))?,
    };
    let value = yaml::from_yaml(&bytes).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_value(value).with_context(|| format!("understanding {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_read_and_a_mistake_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registries.yaml");
        assert_eq!(read(&path).unwrap(), Hosts::default());
        std::fs::write(&path, "mirrors:\n  docker.io:\n    endpoint: [http://127.0.0.1:5000]\n").unwrap();
        assert_eq!(read(&path).unwrap().mirrors["docker.io"].endpoints, ["http://127.0.0.1:5000"]);
        std::fs::write(&path, "mirors: {}\n").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("mirors"));
    }
}
