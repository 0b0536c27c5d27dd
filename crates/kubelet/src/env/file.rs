//! `fileKeyRef`: a variable from an env file in an emptyDir (KEP-5307).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::ConfigError;
use crate::corev1::FileKeySelector;

/// Env files are configuration, not data (`MaxEnvFileSize`'s order of magnitude).
const MAX_FILE_BYTES: u64 = 1 << 20;

pub fn value(volumes: &BTreeMap<String, PathBuf>, reference: &FileKeySelector) -> Result<Option<String>, ConfigError> {
    let volume = &reference.volume_name;
    let dir =
        volumes.get(volume).ok_or_else(|| format!("cannot find the volume \"{volume}\" referenced by FileKeyRef"))?;
    let path = inside(dir, &reference.path);
    let text = read(&path).ok_or("couldn't parse env file")?;
    let found = parse(&text, &reference.key).ok_or("couldn't parse env file")?;
    match found.filter(|value| !value.is_empty()) {
        None if reference.optional == Some(true) => Ok(None),
        None => Err(format!("environment variable key \"{}\" not found in file \"{}\"", reference.key, path.display())),
        found => Ok(found),
    }
}

/// `path` below `dir`, whatever `..` it holds.
fn inside(dir: &Path, path: &str) -> PathBuf {
    let mut inside = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::ParentDir => {
                inside.pop();
            }
            _ => {}
        }
    }
    dir.join(inside)
}

/// Symbolic links are refused: they would lead out of the volume, on the node.
fn read(path: &Path) -> Option<String> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

/// `KEY='value'` lines; comments and empty lines are skipped; the last one wins. `None`: malformed.
fn parse(text: &str, key: &str) -> Option<Option<String>> {
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let quoted = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
        if name.trim() == key {
            found = Some(quoted.unwrap_or(value).to_owned());
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_an_env_file() {
        let text = "# c\nA='x y'\nB=2\n\nA=3\n";
        assert_eq!(parse(text, "A"), Some(Some("3".into())));
        assert_eq!(parse(text, "B"), Some(Some("2".into())));
        assert_eq!(parse(text, "C"), Some(None));
        assert_eq!(parse("oops", "C"), None);
        assert_eq!(inside(Path::new("/v"), "../../etc/passwd"), Path::new("/v/etc/passwd"));
    }
}
