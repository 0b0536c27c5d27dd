//! One tar entry onto disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::tree::{self, Existing, Tree};
use super::{Below, EntryError, lower};

const WHITEOUT_PREFIX: &str = ".wh.";
const WHITEOUT_OPAQUE: &str = ".wh..wh..opq";
/// Bookkeeping of aufs, no content.
const WHITEOUT_META_PREFIX: &str = ".wh..wh.";
const XATTR_PREFIX: &str = "SCHILY.xattr.";
/// Names by which overlayfs would be led elsewhere: an image has no business setting them.
const OVERLAY_XATTRS: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// Applies an entry and returns the bytes of content written.
pub fn apply<R: Read>(
    tree: &mut Tree<'_>,
    entry: &mut tar::Entry<'_, R>,
    copy_buffer: &mut [u8],
) -> Result<u64, EntryError> {
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
        return Ok(0);
    }
    let path = inner_path(&entry.path_bytes())?;
    let meta = Meta::of(entry)?;
    let Some(name) = path.file_name().map(PathBuf::from) else {
        let root = tree.dir(Path::new(""))?;
        meta.set_dir(tree, &root, Path::new("."), &path)?;
        return Ok(0);
    };
    let parent = tree.dir(path.parent().unwrap_or(Path::new("")))?;
    if let Some(text) = name.to_str().filter(|text| text.starts_with(WHITEOUT_PREFIX)) {
        apply_whiteout(&parent, text)?;
        return Ok(0);
    }
    let replaced = make_room(tree, &parent, &name, kind)?;
    match kind {
        EntryType::Directory => {
            if replaced != Some(Existing::Dir) {
                rustix::fs::mkdirat(&parent, &name, Mode::RWXU)?;
            }
            if replaced == Some(Existing::Whiteout) {
                tree::set_opaque_at(open_dir(&parent, &name)?)?;
            }
            meta.set_dir(tree, &parent, &name, &path)?;
            Ok(0)
        }
        EntryType::Link => {
            let target = inner_path(&entry.link_name_bytes().ok_or(EntryError::Escapes)?)?;
            apply_hard_link(tree, &parent, &name, &target)?;
            Ok(0)
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().ok_or(EntryError::Escapes)?;
            rustix::fs::symlinkat(tree::os_str(&target), &parent, &name)?;
            meta.set_other(&parent, &name, false)?;
            Ok(0)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            let (file_type, device) = special(entry.header())?;
            rustix::fs::mknodat(&parent, &name, file_type, Mode::empty(), device)?;
            meta.set_other(&parent, &name, true)?;
            Ok(0)
        }
        _ => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&parent, &name, flags, Mode::RUSR | Mode::WUSR)?);
            let written = copy(entry, &mut file, copy_buffer)?;
            meta.set_file(&file)?;
            Ok(written)
        }
    }
}

/// The path without root, `.` and `..`; an error when it would leave the tree.
fn inner_path(bytes: &[u8]) -> Result<PathBuf, EntryError> {
    let mut path = PathBuf::new();
    for part in Path::new(tree::os_str(bytes)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir if !path.pop() => return Err(EntryError::Escapes),
            _ => {}
        }
    }
    Ok(path)
}

fn copy(entry: &mut impl Read, file: &mut File, buffer: &mut [u8]) -> io::Result<u64> {
    let mut written = 0;
    loop {
        let n = match entry.read(buffer) {
            Ok(0) => return Ok(written),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        file.write_all(&buffer[..n])?;
        written += n as u64;
    }
}

/// Whiteouts speak of the layers below only: what this layer itself holds stays.
fn apply_whiteout(parent: &OwnedFd, name: &str) -> Result<(), EntryError> {
    if name == WHITEOUT_OPAQUE {
        return Ok(tree::set_opaque_at(open_dir(parent, Path::new("."))?)?);
    }
    if name.starts_with(WHITEOUT_META_PREFIX) {
        return Ok(());
    }
    let target = Path::new(&name[WHITEOUT_PREFIX.len()..]);
    if target.as_os_str().is_empty() || target == Path::new(".") || target == Path::new("..") {
        return Err(EntryError::Escapes);
    }
    match tree::kind_of(parent, target)? {
        Some(Existing::Dir) => tree::set_opaque_at(open_dir(parent, target)?)?,
        Some(_) => {}
        None => rustix::fs::mknodat(parent, target, FileType::CharacterDevice, Mode::empty(), 0)?,
    }
    Ok(())
}

/// Removes what a new entry replaces (a directory stays for a directory) and says what was there.
fn make_room(
    tree: &mut Tree<'_>,
    parent: &OwnedFd,
    name: &Path,
    kind: EntryType,
) -> Result<Option<Existing>, EntryError> {
    let existing = tree::kind_of(parent, name)?;
    match existing {
        Some(Existing::Dir) if kind == EntryType::Directory => {}
        Some(Existing::Dir) => {
            tree.forget();
            tree::remove_dir_all(parent, name)?;
        }
        Some(_) => rustix::fs::unlinkat(parent, name, AtFlags::empty())?,
        None => {}
    }
    Ok(existing)
}

fn apply_hard_link(tree: &mut Tree<'_>, parent: &OwnedFd, name: &Path, target: &Path) -> Result<(), EntryError> {
    let target_name = target.file_name().map(Path::new).ok_or(EntryError::Escapes)?;
    let target_parent = target.parent().unwrap_or(Path::new(""));
    if let Some(dir) = tree.existing_dir(target_parent)? {
        match rustix::fs::linkat(&dir, target_name, parent, name, AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let Below::Known(layers) = tree.below() else { return Err(EntryError::NeedsLower) };
    let (source, meta) = lower::find(layers, target).ok_or(Errno::NOENT)?;
    if !meta.is_file() {
        return Err(Errno::NOENT.into());
    }
    copy_up(&source, &meta, parent, name)
}

/// A file of a layer below, copied here as overlayfs would on writing to it.
fn copy_up(source: &Path, meta: &std::fs::Metadata, parent: &OwnedFd, name: &Path) -> Result<(), EntryError> {
    use std::os::unix::fs::MetadataExt;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
    io::copy(&mut File::open(source)?, &mut file)?;
    let mtime = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() };
    Meta { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, mtime, xattrs: Vec::new() }.set_file(&file)
}

fn special(header: &tar::Header) -> Result<(FileType, u64), EntryError> {
    let file_type = match header.entry_type() {
        EntryType::Char => FileType::CharacterDevice,
        EntryType::Block => FileType::BlockDevice,
        _ => return Ok((FileType::Fifo, 0)),
    };
    let (major, minor) = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
    Ok((file_type, rustix::fs::makedev(major, minor)))
}

fn open_dir(parent: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Owner, permissions, time and extended attributes of an entry.
struct Meta {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: Timespec,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Meta {
    fn of<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, EntryError> {
        let header = entry.header();
        let raw = header.as_old();
        let id = |n: u64| u32::try_from(n).map_err(|_| EntryError::Io(Errno::OVERFLOW.into()));
        let mut meta = Self {
            uid: id(blank_is_zero(&raw.uid, header.uid())?)?,
            gid: id(blank_is_zero(&raw.gid, header.gid())?)?,
            mode: blank_is_zero(&raw.mode, header.mode())? & 0o7777,
            mtime: Timespec { tv_sec: header.mtime().unwrap_or(0).cast_signed(), tv_nsec: 0 },
            xattrs: Vec::new(),
        };
        let Some(extensions) = entry.pax_extensions()? else { return Ok(meta) };
        for extension in extensions {
            let extension = extension?;
            let Ok(key) = extension.key() else { continue };
            if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                if !OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix)) {
                    meta.xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
                }
            } else if key == "mtime"
                && let Some(mtime) = extension.value().ok().and_then(parse_pax_time)
            {
                meta.mtime = mtime;
            }
        }
        Ok(meta)
    }

    fn set_file(&self, file: &File) -> Result<(), EntryError> {
        rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        // After the owner: changing that clears set-uid bits and capabilities.
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        self.set_xattrs(|name, value| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
        Ok(rustix::fs::futimens(file, &self.times())?)
    }

    fn set_dir(&self, tree: &mut Tree<'_>, parent: &OwnedFd, name: &Path, path: &Path) -> Result<(), EntryError> {
        let dir = open_dir(parent, name)?;
        rustix::fs::fchown(&dir, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(self.mode))?;
        self.set_xattrs(|name, value| rustix::fs::fsetxattr(&dir, name, value, XattrFlags::empty()))?;
        tree.set_time_later(path, self.mtime);
        Ok(())
    }

    /// For what cannot be opened: symlinks (which have no mode) and device nodes.
    fn set_other(&self, parent: &OwnedFd, name: &Path, with_mode: bool) -> Result<(), EntryError> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if with_mode {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_os_str().as_bytes());
        let path = Path::new(tree::os_str(&path));
        self.set_xattrs(|name, value| rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()))?;
        Ok(rustix::fs::utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Attributes that the file system does not know are left out, as other runtimes do.
    fn set_xattrs(&self, set: impl Fn(&str, &[u8]) -> Result<(), Errno>) -> Result<(), EntryError> {
        for (name, value) in &self.xattrs {
            match set(name, value) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(Errno::PERM) if name.starts_with("user.") => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn times(&self) -> Timestamps {
        Timestamps { last_access: self.mtime, last_modification: self.mtime }
    }
}

/// A numeric field that was never filled in counts as zero, as other readers have it.
fn blank_is_zero<T: Default>(field: &[u8], parsed: io::Result<T>) -> io::Result<T> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) { Ok(T::default()) } else { parsed }
}

/// `1700000000.123456789`, also negative.
fn parse_pax_time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let tv_sec: i64 = seconds.parse().ok()?;
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    if text.starts_with('-') && nanos > 0 {
        return Some(Timespec { tv_sec: tv_sec - 1, tv_nsec: 1_000_000_000 - nanos });
    }
    Some(Timespec { tv_sec, tv_nsec: nanos })
}
