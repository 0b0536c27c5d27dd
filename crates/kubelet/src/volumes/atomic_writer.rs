//! Files that change all at once.
//!
//! The layout is upstream's, which programs rely on: every file is a link through `..data`, itself
//! a link to a dated directory, and one rename switches to the next such directory
//! (`pkg/volume/util/atomic_writer.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// One file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    pub user: Option<u32>,
}

/// Files by relative path.
pub type Payload = BTreeMap<String, File>;

const DATA_DIR: &str = "..data";
const NEW_DATA_DIR: &str = "..data_tmp";
const MAX_FILE_NAME: usize = 255;
const MAX_PATH: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{0}")]
    Path(String),
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> WriteError {
    let doing = what.into();
    move |source| WriteError::Io { doing, source }
}

/// Makes `dir` show exactly `payload`. `set_owner` is called for what was written, before it shows.
/// Returns whether anything changed.
pub fn write(dir: &Path, payload: &Payload, set_owner: impl Fn(&Path) -> io::Result<()>) -> Result<bool, WriteError> {
    let payload = cleaned(payload)?;
    let old = fs::read_link(dir.join(DATA_DIR)).ok().map(|name| dir.join(name));
    let stale = old.as_deref().map(|old| stale(old, &payload)).unwrap_or_default();
    let same = old.as_deref().is_some_and(|old| stale.is_empty() && holds(old, &payload));
    if !same {
        let new = write_dated(dir, &payload)?;
        set_owner(dir).map_err(doing("applying ownership settings"))?;
        switch(dir, &new)?;
    }
    show(dir, &payload)?;
    hide(dir, &stale, &payload);
    if let Some(old) = old.filter(|_| !same) {
        fs::remove_dir_all(&old).map_err(doing(format!("removing old data directory {}", old.display())))?;
    }
    Ok(!same)
}

fn cleaned(payload: &Payload) -> Result<BTreeMap<PathBuf, &File>, WriteError> {
    payload
        .iter()
        .map(|(path, file)| {
            check_path(path)?;
            Ok((Path::new(path).components().filter(|c| *c != Component::CurDir).collect(), file))
        })
        .collect()
}

fn check_path(path: &str) -> Result<(), WriteError> {
    let refuse = |why: String| Err(WriteError::Path(format!("invalid path: {why}")));
    let first = path.split('/').next().unwrap_or_default();
    if path.is_empty() {
        return refuse(format!("must not be empty: {path:?}"));
    }
    if path.starts_with('/') {
        return refuse(format!("must be relative path: {path}"));
    }
    if path.len() > MAX_PATH {
        return refuse(format!("must be less than or equal to {MAX_PATH} characters"));
    }
    if path.split('/').any(|part| part == "..") {
        return refuse(format!("must not contain '..': {path}"));
    }
    if path.split('/').any(|part| part.len() > MAX_FILE_NAME) {
        return refuse(format!("filenames must be less than or equal to {MAX_FILE_NAME} characters"));
    }
    if first.starts_with("..") && first.len() > 2 {
        return refuse(format!("must not start with '..': {path}"));
    }
    Ok(())
}

/// Does the directory hold these very bytes?
fn holds(dir: &Path, payload: &BTreeMap<PathBuf, &File>) -> bool {
    payload.iter().all(|(path, file)| fs::read(dir.join(path)).is_ok_and(|data| data == file.data))
}

/// Files of the old directory that the payload has no more.
fn stale(old: &Path, payload: &BTreeMap<PathBuf, &File>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    collect_files(old, Path::new(""), &mut found);
    found.retain(|path| !payload.contains_key(path));
    found
}

fn collect_files(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect_files(root, &path, found);
        } else {
            found.insert(path);
        }
    }
}

fn write_dated(dir: &Path, payload: &BTreeMap<PathBuf, &File>) -> Result<PathBuf, WriteError> {
    let new = dir.join(dated_name());
    fs::DirBuilder::new().mode(0o755).create(&new).map_err(doing("creating new ts data directory"))?;
    // The mode above passes through the umask; programs of other users must get in.
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).map_err(doing("opening the ts data directory"))?;
    for (path, file) in payload {
        let full = new.join(path);
        write_file(&new, &full, file).map_err(doing(format!("writing {}", path.display())))?;
    }
    Ok(new)
}

fn write_file(root: &Path, full: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = full.parent().filter(|parent| *parent != root) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(file.mode).open(full)?;
    io::Write::write_all(&mut out, &file.data)?;
    fs::set_permissions(full, fs::Permissions::from_mode(file.mode))?;
    if let Some(user) = file.user {
        std::os::unix::fs::chown(full, Some(user), None)?;
    }
    Ok(())
}

/// `..2026_01_02_15_04_05.123456789`
fn dated_name() -> String {
    let digits = orlop_base::id::with_rng(|rng| rng.u32(..));
    format!("..{}.{digits}", orlop_base::clock::now().strftime("%Y_%m_%d_%H_%M_%S"))
}

fn switch(dir: &Path, new: &Path) -> Result<(), WriteError> {
    let (link, name) = (dir.join(NEW_DATA_DIR), new.file_name().unwrap_or_default());
    // Left behind by a crash between the two steps below.
    let _ = fs::remove_file(&link);
    symlink(name, &link).map_err(doing("creating symbolic link for atomic update"))?;
    fs::rename(&link, dir.join(DATA_DIR)).map_err(doing("renaming symbolic link for data directory"))
}

/// One link per top-level name, through `..data`.
fn show(dir: &Path, payload: &BTreeMap<PathBuf, &File>) -> Result<(), WriteError> {
    for name in payload.keys().filter_map(|path| top(path)) {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA_DIR).join(name), &link).map_err(doing("creating visible symlinks"))?;
        }
    }
    Ok(())
}

fn hide(dir: &Path, stale: &BTreeSet<PathBuf>, payload: &BTreeMap<PathBuf, &File>) {
    let kept: BTreeSet<&Path> = payload.keys().filter_map(|path| top(path)).collect();
    for name in stale.iter().filter_map(|path| top(path)).filter(|name| !kept.contains(name)) {
        // Already gone is as good.
        let _ = fs::remove_file(dir.join(name));
    }
}

fn top(path: &Path) -> Option<&Path> {
    path.components().next().map(|part| Path::new(part.as_os_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| File { data: data.into(), mode: 0o640, user: None };
        files.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect()
    }

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.retain(|name| !name.starts_with("..2"));
        names
    }

    #[test]
    fn files_switch_together() {
        let dir = temp_dir();
        let dir = dir.path();
        let put = |files: &[(&str, &str)]| write(dir, &payload(files), |_| Ok(())).unwrap();
        assert!(put(&[("a", "1"), ("d/e/f", "2")]));
        assert_eq!(entries(dir), ["..data", "a", "d"]);
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::read_to_string(dir.join("d/e/f")).unwrap(), "2");
        let mode = fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640);
        let first = fs::read_link(dir.join("..data")).unwrap();
        assert!(!put(&[("a", "1"), ("d/e/f", "2")]), "nothing changed, nothing is written");
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), first);
        assert!(put(&[("a", "3"), ("b", "4")]));
        assert_eq!(entries(dir), ["..data", "a", "b"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(!dir.join(first).exists());
        assert!(put(&[]));
        assert_eq!(entries(dir), ["..data"]);
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["", "/a", "a/../b", "..a", &"x".repeat(256)] {
            assert!(check_path(path).is_err(), "{path}");
        }
        for path in ["a", "a/b", ".a", "a..b", "a/..b"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
    }
}
