//! Paths inside a root that is not ours yet: every symlink is followed as if the root were `/` already.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What to make where nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Directory,
    File,
}

/// As the kernel's own limit (`MAXSYMLINKS`).
const SYMLINKS_MAX: usize = 40;

/// Opens `path` (without rights to read or write) or fails if there is nothing.
pub fn open(root: impl AsFd, path: &CStr) -> io::Result<OwnedFd> {
    Ok(resolve(root, path, OFlags::PATH, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?)
}

/// As [`open`], refusing any symlink on the way.
pub fn open_without_links(root: impl AsFd, path: &CStr) -> io::Result<OwnedFd> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    Ok(resolve(root, path, OFlags::PATH, how)?)
}

/// As [`open`], making what is missing on the way.
pub fn ensure(root: impl AsFd, path: &CStr, make: Make) -> io::Result<OwnedFd> {
    match open(&root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let path = Path::new(std::ffi::OsStr::new(path.to_str().map_err(|_| Errno::INVAL)?));
    let mut at = PathBuf::new();
    let mut rest = parts_reversed(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let last = rest.is_empty();
        match step(&root, &at, &next, if last { make } else { Make::Directory })? {
            None => at = next,
            Some(target) => {
                links += 1;
                if links > SYMLINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                if target.is_absolute() {
                    at.clear();
                }
                rest.extend(parts_reversed(&target));
            }
        }
    }
    open(root, &c_path(&at)?)
}

/// Makes `next` unless something is there; answers where it leads if that is a symlink.
fn step(root: impl AsFd, parent: &Path, next: &Path, make: Make) -> io::Result<Option<PathBuf>> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = resolve(&root, &c_path(next)?, OFlags::PATH | OFlags::NOFOLLOW, how);
    match found {
        Ok(fd) => {
            if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::Symlink {
                return Ok(None);
            }
            let target = rustix::fs::readlinkat(&fd, c"", Vec::new())?;
            return Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes()))));
        }
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let parent = resolve(&root, &c_path(parent)?, OFlags::PATH | OFlags::DIRECTORY, how)?;
    let name = next.file_name().ok_or(Errno::INVAL)?;
    let made = match make {
        Make::Directory => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
        Make::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // Made by another container that shares the volume: look again when it is opened.
        Ok(()) | Err(Errno::EXIST) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn resolve(root: impl AsFd, path: &CStr, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { c"." } else { path };
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            // Something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL.into())
}

/// The parts of a path, last first; `.` and `/` dropped.
fn parts_reversed(path: &Path) -> Vec<OsString> {
    let keep = |c: Component<'_>| match c {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    #[test]
    fn targets_are_made_inside_whatever_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        symlink("/run", root.join("var")).unwrap();
        symlink("../../../..", root.join("up")).unwrap();
        symlink("../gone/file", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let fd = File::open(&root).unwrap();
        for (path, make) in [
            (c"/a/b/c", Make::Directory),
            (c"var/lock/x", Make::File),
            (c"up/here", Make::File),
            (c"/dangling", Make::File),
            (c"../outside", Make::Directory),
        ] {
            ensure(&fd, path, make).unwrap();
        }
        for path in ["a/b/c", "run/lock/x", "here", "gone/file", "outside"] {
            assert!(root.join(path).exists(), "{path}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(ensure(&fd, c"loop/x", Make::File).is_err());
        assert!(open_without_links(&fd, c"var").is_err());
    }
}
