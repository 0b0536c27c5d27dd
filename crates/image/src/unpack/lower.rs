//! Looking through the layers below, as overlayfs would show them.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

pub const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// As the kernel's own limit (`MAXSYMLINKS`).
pub const SYMLINKS_MAX: usize = 40;

/// What stands at `path` (no symlinks in its parents) in the merged layers, topmost first.
pub fn find(layers: &[PathBuf], path: &Path) -> Option<(PathBuf, Metadata)> {
    for layer in layers {
        let candidate = layer.join(path);
        match candidate.symlink_metadata() {
            Ok(meta) if is_whiteout(&meta) => return None,
            Ok(meta) => return Some((candidate, meta)),
            Err(_) if hides_below(layer, path) => return None,
            Err(_) => {}
        }
    }
    None
}

/// Follows every symlink of `path` inside the merged layers to the file it means.
pub fn resolve(layers: &[PathBuf], path: &Path) -> Option<PathBuf> {
    let mut at = PathBuf::new();
    let mut found = None;
    let mut rest: Vec<OsString> = parts_reversed(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let (real, meta) = find(layers, &next)?;
        if meta.is_symlink() {
            links += 1;
            if links > SYMLINKS_MAX {
                return None;
            }
            let target = std::fs::read_link(&real).ok()?;
            if target.is_absolute() {
                at.clear();
            }
            rest.extend(parts_reversed(&target));
        } else {
            at = next;
            found = Some(real);
        }
    }
    found
}

/// The parts of a path, last first; `.` and `/` dropped.
pub fn parts_reversed(path: &Path) -> Vec<OsString> {
    let keep = |c: Component<'_>| match c {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(keep).collect()
}

pub fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

/// True when a parent of `path` in `layer` is opaque, deleted, or no directory.
fn hides_below(layer: &Path, path: &Path) -> bool {
    path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).any(|parent| {
        let dir = layer.join(parent);
        dir.symlink_metadata().is_ok_and(|meta| !meta.is_dir() || is_opaque(&dir))
    })
}

pub fn is_opaque(dir: &Path) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::lgetxattr(dir, OPAQUE_XATTR, &mut value), Ok(1)) && value[0] == b'y'
}
