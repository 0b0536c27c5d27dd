//! hostPath: a path of the node, checked or made as its type says.

use std::fs::{self, FileType};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path};

use super::One;
use crate::corev1::HostPathVolumeSource;

pub fn set_up(source: &HostPathVolumeSource) -> Result<One, String> {
    let path = Path::new(&source.path);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("invalid HostPath `{}`: must not contain '..'", source.path));
    }
    check(path, source.type_.as_deref().unwrap_or_default())?;
    Ok(One::at(path.to_path_buf()))
}

fn check(path: &Path, kind: &str) -> Result<(), String> {
    match kind {
        "" => Ok(()),
        "DirectoryOrCreate" => match fs::metadata(path) {
            Ok(_) => expect(path, "directory", FileType::is_dir),
            Err(_) => fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| e.to_string()),
        },
        "FileOrCreate" => match fs::metadata(path) {
            Ok(_) => expect(path, "file", FileType::is_file),
            Err(_) => make_file(path),
        },
        "Directory" => expect(path, "directory", FileType::is_dir),
        "File" => expect(path, "file", FileType::is_file),
        "Socket" => expect(path, "socket file", FileType::is_socket),
        "CharDevice" => expect(path, "character device", FileType::is_char_device),
        "BlockDevice" => expect(path, "block device", FileType::is_block_device),
        other => Err(format!("{other} is an invalid volume type")),
    }
}

fn make_file(path: &Path) -> Result<(), String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644).open(path).map(drop).map_err(|e| e.to_string())
}

fn expect(path: &Path, expected: &str, is: impl Fn(&FileType) -> bool) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| {
        format!("hostPath type check failed: {shown} is not a {expected}, unable to determine its type: {error}")
    })?;
    let found = metadata.file_type();
    if is(&found) {
        return Ok(());
    }
    Err(format!("hostPath type check failed: {shown} is not a {expected}, it's a {}", named(found)))
}

fn named(found: FileType) -> &'static str {
    if found.is_dir() {
        "directory"
    } else if found.is_socket() {
        "socket file"
    } else if found.is_char_device() {
        "character device"
    } else if found.is_block_device() {
        "block device"
    } else {
        "file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[test]
    fn types() {
        let dir = temp_dir();
        let root = dir.path();
        check(&root.join("a/b"), "DirectoryOrCreate").unwrap();
        check(&root.join("f"), "FileOrCreate").unwrap();
        assert!(root.join("a/b").is_dir() && root.join("f").is_file());
        check(&root.join("f"), "File").unwrap();
        check(Path::new("/dev/null"), "CharDevice").unwrap();
        check(&root.join("gone"), "").unwrap();
        let error = check(&root.join("f"), "Directory").unwrap_err();
        assert_eq!(error, format!("hostPath type check failed: {}/f is not a directory, it's a file", root.display()));
        assert!(check(&root.join("gone"), "Socket").is_err());
    }
}
