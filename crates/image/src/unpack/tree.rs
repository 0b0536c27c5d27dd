//! The directory being filled: every path is resolved inside it, whatever symlinks the archive planted.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::lower::{self, OPAQUE_XATTR};
use super::{Below, EntryError};

const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub struct Tree<'a> {
    path: PathBuf,
    root: OwnedFd,
    below: Below<'a>,
    /// Archives list a directory's files together: the last parent is the likely next one.
    last: Option<(PathBuf, OwnedFd)>,
    /// Filling a directory changes its time, so times are set last.
    times: Vec<(PathBuf, Timespec)>,
}

impl<'a> Tree<'a> {
    pub fn open(path: &Path, below: Below<'a>) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, DIR, Mode::empty())?;
        Ok(Self { path: path.to_owned(), root, below, last: None, times: Vec::new() })
    }

    /// The directory `path` inside the tree, made if absent.
    pub fn dir(&mut self, path: &Path) -> Result<OwnedFd, EntryError> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(rustix::io::fcntl_dupfd_cloexec(fd, 0)?);
        }
        let fd = match self.resolve(path) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_dirs(path)?,
            Err(errno) => return Err(errno.into()),
        };
        self.last = Some((path.to_owned(), rustix::io::fcntl_dupfd_cloexec(&fd, 0)?));
        Ok(fd)
    }

    /// The directory `path` if the tree has it.
    pub fn existing_dir(&self, path: &Path) -> Result<Option<OwnedFd>, EntryError> {
        match self.resolve(path) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// To be called when a directory was removed or replaced.
    pub fn forget(&mut self) {
        self.last = None;
    }

    pub fn below(&self) -> Below<'a> {
        self.below
    }

    pub fn set_time_later(&mut self, path: &Path, mtime: Timespec) {
        self.times.push((path.to_owned(), mtime));
    }

    pub fn finish(self) -> io::Result<()> {
        for (path, mtime) in self.times.iter().rev() {
            // A later entry may have replaced the directory.
            let Ok(fd) = self.resolve(path) else { continue };
            let times = Timestamps { last_access: *mtime, last_modification: *mtime };
            rustix::fs::utimensat(&fd, ".", &times, AtFlags::empty())?;
        }
        Ok(())
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.root, path, DIR, Mode::empty(), inside)
    }

    /// Walks `path` as the merged image would, making what this layer lacks.
    fn make_dirs(&mut self, path: &Path) -> Result<OwnedFd, EntryError> {
        let mut at = PathBuf::new();
        let mut rest: Vec<OsString> = lower::parts_reversed(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            match self.step(&next)? {
                Step::Dir => at = next,
                Step::Link(target) => {
                    links += 1;
                    if links > lower::SYMLINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    if target.is_absolute() {
                        at.clear();
                    }
                    rest.extend(lower::parts_reversed(&target));
                }
            }
        }
        Ok(self.resolve(&at)?)
    }

    /// Makes sure of one directory whose parents are real directories of this layer.
    fn step(&mut self, path: &Path) -> Result<Step, EntryError> {
        let here = self.path.join(path);
        match here.symlink_metadata() {
            Ok(meta) if meta.is_dir() => return Ok(Step::Dir),
            Ok(meta) if meta.is_symlink() => return Ok(Step::Link(std::fs::read_link(&here)?)),
            Ok(meta) if lower::is_whiteout(&meta) => {
                // Deleted below and made anew here.
                std::fs::remove_file(&here)?;
                make_dir(&here, 0o755, 0, 0)?;
                set_opaque(&here)?;
                return Ok(Step::Dir);
            }
            Ok(_) => return Err(Errno::NOTDIR.into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Err(_) => {}
        }
        let Below::Known(layers) = self.below else { return Err(EntryError::NeedsLower) };
        let hidden = path.parent().is_some_and(|parent| lower::is_opaque(&self.path.join(parent)));
        match lower::find(layers, path).filter(|_| !hidden) {
            Some((_, meta)) if meta.is_dir() => make_dir(&here, meta.mode() & 0o7777, meta.uid(), meta.gid())?,
            Some((link, meta)) if meta.is_symlink() => return Ok(Step::Link(std::fs::read_link(link)?)),
            Some(_) => return Err(Errno::NOTDIR.into()),
            None => make_dir(&here, 0o755, 0, 0)?,
        }
        Ok(Step::Dir)
    }
}

enum Step {
    Dir,
    Link(PathBuf),
}

/// Whether something stands at `name` in `dir`, and what.
pub fn kind_of(dir: &OwnedFd, name: &Path) -> Result<Option<Existing>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Existing::Dir,
            FileType::CharacterDevice if stat.st_rdev == 0 => Existing::Whiteout,
            _ => Existing::Other,
        })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Dir,
    Whiteout,
    Other,
}

/// Removes a directory and all in it, by descriptors, following nothing.
pub fn remove_dir_all(dir: &OwnedFd, name: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&fd)? {
        let entry = entry?;
        let child = Path::new(std::ffi::OsStr::new("")).join(os_str(entry.file_name().to_bytes()));
        if child == Path::new(".") || child == Path::new("..") {
            continue;
        }
        match kind_of(&fd, &child)? {
            Some(Existing::Dir) => remove_dir_all(&fd, &child)?,
            _ => rustix::fs::unlinkat(&fd, &child, AtFlags::empty())?,
        }
    }
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

pub fn os_str(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

pub fn set_opaque_at(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(dir, OPAQUE_XATTR, b"y", XattrFlags::empty())?)
}

fn set_opaque(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(dir, OPAQUE_XATTR, b"y", XattrFlags::empty())?)
}

fn make_dir(path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    std::fs::create_dir(path)?;
    rustix::fs::chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?;
    Ok(())
}
