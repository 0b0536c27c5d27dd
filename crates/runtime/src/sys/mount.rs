//! The file-descriptor mount calls (`fsopen` and friends, Linux 5.2; `mount_setattr`, Linux 5.12).

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::check;

/// `AT_RECURSIVE` of `open_tree` and `mount_setattr` (linux/fcntl.h).
const AT_RECURSIVE: u32 = 0x8000;

/// A detached copy of what is mounted at `path`; following symlinks.
pub fn clone_tree(path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    clone_tree_at(CWD, path, recursive)
}

pub fn clone_tree_at(dir: impl AsFd, path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(dir, path, flags)?)
}

/// A new file system, detached. An option without a value is a flag.
pub fn new_filesystem<'a>(
    kind: &CStr,
    options: impl IntoIterator<Item = (&'a CStr, Option<&'a CStr>)>,
    attributes: u32,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, key)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes);
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Attaches a detached mount on top of what `target` is open on.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, c"", target, c"", flags)?)
}

/// `struct mount_attr` (linux/mount.h).
#[repr(C)]
#[derive(Default)]
pub struct Attributes {
    pub set: u64,
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 to leave it.
    pub propagation: u64,
    pub userns_fd: u64,
}

/// Changes the attributes of the mount that `mount` is open on, and of those below it.
pub fn set_attributes(mount: impl AsFd, attributes: &Attributes, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH as u32 | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated string and the structure outlives the call, with its true size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    check(result).map(drop)
}
