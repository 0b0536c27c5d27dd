//! Part of a volume, safely: what a container may have planted in the volume (links above all)
//! must not lead the node out of it (CVE-2017-1002101, CVE-2021-25741).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::io::Errno;

use super::mounter::Mounter;

/// Where the bind mount of a sub-path goes, below the pod's directory.
pub fn target(pod_dir: &Path, volume: &str, container: &str, index: usize) -> PathBuf {
    pod_dir.join("volume-subpaths").join(volume).join(container).join(index.to_string())
}

/// Opens `sub_path` of `volume` (making directories as needed) and binds it to `target`.
pub fn bind(mounter: &dyn Mounter, volume: &Path, sub_path: &str, target: &Path) -> io::Result<()> {
    let source = open(volume, sub_path)?;
    if mounter.is_mounted(target)? {
        // Of an earlier container: the volume may hold something else there now.
        mounter.unmount(target)?;
    }
    let is_dir = FileType::from_raw_mode(fstat(&source)?.st_mode).is_dir();
    if is_dir {
        std::fs::create_dir_all(target)?;
    } else {
        std::fs::create_dir_all(target.parent().unwrap_or(target))?;
        std::fs::File::create(target)?;
    }
    mounter.bind(source.as_fd(), target)
}

/// The kernel resolves every step below the volume's root and refuses to leave it.
fn open(volume: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let root = openat2(CWD, volume, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty())?;
    match below(&root, sub_path) {
        Ok(found) => Ok(found),
        Err(Errno::NOENT) => make(volume, &root, sub_path),
        Err(error) => Err(error.into()),
    }
}

fn below(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Makes the missing directories with the volume's own mode.
fn make(volume: &Path, root: &OwnedFd, sub_path: &str) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(volume)?) & 0o7777);
    let mut done = String::new();
    let mut parent = below(root, "")?;
    for part in sub_path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if !done.is_empty() {
            done.push('/');
        }
        done.push_str(part);
        parent = match below(root, &done) {
            Err(Errno::NOENT) => {
                match mkdirat(&parent, part, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let made = below(root, &done)?;
                // The umask took bits away that the volume's own directory has.
                rustix::fs::chmodat(&parent, part, mode, rustix::fs::AtFlags::empty())?;
                made
            }
            found => found?,
        };
    }
    Ok(parent)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::temp_dir;

    fn resolved(volume: &Path, sub_path: &str) -> io::Result<PathBuf> {
        use std::os::fd::AsRawFd;
        let found = open(volume, sub_path)?;
        std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    #[test]
    fn links_may_not_leave_the_volume() {
        let dir = temp_dir();
        let volume = dir.path().join("v");
        std::fs::create_dir_all(volume.join("..data")).unwrap();
        std::fs::write(volume.join("..data/key"), "x").unwrap();
        symlink("..data/key", volume.join("key")).unwrap();
        symlink("/etc", volume.join("absolute")).unwrap();
        symlink("../..", volume.join("up")).unwrap();
        assert_eq!(resolved(&volume, "key").unwrap(), volume.join("..data/key"));
        assert_eq!(resolved(&volume, "a/b").unwrap(), volume.join("a/b"), "made when missing");
        for escape in ["absolute", "absolute/passwd", "up", "up/x", "up/v/key"] {
            assert!(resolved(&volume, escape).is_err(), "{escape}");
        }
    }
}
