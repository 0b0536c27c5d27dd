//! Putting a container's root file system together and moving into it.
//!
//! Everything is mounted in a namespace of its own that dies with the container, so there is nothing to
//! unmount afterwards and nothing to leak.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::inside::{self, Make};
use super::{Step, cause, describe};
use crate::plan::{BindPlan, RootPlan, RootStep};
use crate::sys::mount::{self, Attributes};

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const TRANSLATED: u64 = libc::MOUNT_ATTR_IDMAP;

pub fn build(plan: &RootPlan) -> Step<()> {
    // While the namespace still shares the host's peer groups: a bind of a shared mount is a peer of it.
    let binds = clone_binds(&plan.steps, None)?;
    detach_from_host()?;
    mount_root(plan)?;
    assemble(plan, binds, || Ok(()))
}

/// What is made outside a user namespace for a root inside it.
pub struct Prepared {
    binds: Vec<OwnedFd>,
    layers: OwnedFd,
}

/// Makes it, owners translated by the namespace `users`.
pub fn prepare(plan: &RootPlan, users: &OwnedFd) -> Step<Prepared> {
    let binds = clone_binds(&plan.steps, Some(users))?;
    detach_from_host()?;
    let layers = translated_layers(plan, users).map_err(|e| describe("mount the root file system", &e))?;
    Ok(Prepared { binds, layers })
}

/// Builds the root of what was prepared, in a mount namespace of the user namespace.
pub fn build_inside(plan: &RootPlan, prepared: Prepared) -> Step<()> {
    let attached = rustix::fs::openat(CWD, &plan.target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    attached
        .map_err(io::Error::from)
        .and_then(|target| mount::attach(prepared.layers, target))
        .map_err(|e| describe("attach the root file system", &e))?;
    // Only the host's root could find the way there.
    assemble(plan, prepared.binds, super::users::become_root)
}

/// The layers on one another with their owners translated: overlayfs cannot do it, but what it stands on can.
fn translated_layers(plan: &RootPlan, users: &OwnedFd) -> io::Result<OwnedFd> {
    let below = |name: &str| -> io::Result<CString> {
        Ok(CString::new([plan.target.to_bytes(), b"/", name.as_bytes()].concat())?)
    };
    let place = |path: &CStr| rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    mount::attach(mount::new_filesystem(c"tmpfs", [], 0)?, place(&plan.target)?)?;
    let mut lowers = Vec::with_capacity(plan.lowers.len());
    for (number, layer) in plan.lowers.iter().enumerate() {
        let path = below(&number.to_string())?;
        rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o700))?;
        let copy = mount::clone_tree(layer, false)?;
        translate(&copy, users)?;
        mount::attach(copy, place(&path)?)?;
        lowers.push(path);
    }
    let target = below("root")?;
    rustix::fs::mkdirat(CWD, &target, Mode::from_raw_mode(0o700))?;
    mount_overlay(&RootPlan { lowers, target: target.clone(), steps: Vec::new(), ..plan.clone() })?;
    let layers = mount::clone_tree(&target, false)?;
    rustix::mount::unmount(&plan.target, UnmountFlags::DETACH)?;
    Ok(layers)
}

fn translate(tree: &OwnedFd, users: &OwnedFd) -> io::Result<()> {
    let userns_fd = users.as_raw_fd() as u64;
    mount::set_attributes(tree, &Attributes { set: TRANSLATED, userns_fd, ..Attributes::default() }, false).map_err(
        |e| {
            let why = cause(&e);
            io::Error::other(format!("{why} (maybe its file system does not support idmapped mounts on this kernel)"))
        },
    )
}

fn detach_from_host() -> Step<()> {
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| describe("detach from the host's mounts", &e.into()))
}

/// Mounts everything else and enters; `opened` is run as soon as the root is reached.
fn assemble(plan: &RootPlan, binds: Vec<OwnedFd>, opened: impl FnOnce() -> Step<()>) -> Step<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &plan.target, flags, Mode::empty())
        .map_err(|e| describe("open the root file system", &e.into()))?;
    opened()?;
    let mut binds = binds.into_iter();
    for step in &plan.steps {
        match step {
            RootStep::Bind { bind } => {
                let source = binds.next().expect("one was cloned for each");
                attach_bind(&root, bind, source).map_err(|e| {
                    let (source, target) = (bind.source.to_string_lossy(), bind.target.to_string_lossy());
                    format!("error mounting \"{source}\" to rootfs at \"{target}\": {}", bind_cause(&e))
                })?;
            }
            other => apply(&root, other)?,
        }
    }
    enter(&root).map_err(|e| describe("enter the root file system", &e))?;
    if plan.read_only {
        let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty());
        let attributes = Attributes { set: READ_ONLY, ..Attributes::default() };
        root.map_err(io::Error::from)
            .and_then(|root| mount::set_attributes(root, &attributes, false))
            .map_err(|e| describe("make the root file system read-only", &e))?;
    }
    Ok(())
}

/// Puts the layers together on `plan.target`.
pub fn mount_root(plan: &RootPlan) -> Step<()> {
    mount_overlay(plan).map_err(|e| describe("mount the root file system", &e))
}

fn clone_binds(steps: &[RootStep], users: Option<&OwnedFd>) -> Step<Vec<OwnedFd>> {
    let mut binds = Vec::new();
    for step in steps {
        let RootStep::Bind { bind } = step else { continue };
        let cloned = clone_bind(bind, users);
        binds.push(cloned.map_err(|e| {
            let (source, target) = (bind.source.to_string_lossy(), bind.target.to_string_lossy());
            format!("error mounting \"{source}\" to rootfs at \"{target}\": {}", cause(&e))
        })?);
    }
    Ok(binds)
}

fn clone_bind(bind: &BindPlan, users: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let tree = mount::clone_tree(&bind.source, bind.recursive)?;
    let propagation = Attributes { propagation: bind.propagation, ..Attributes::default() };
    mount::set_attributes(&tree, &propagation, true)?;
    if let Some(users) = users.filter(|_| u64::from(bind.attributes) & TRANSLATED != 0) {
        translate(&tree, users)?;
    }
    let mut set = u64::from(bind.attributes) & !TRANSLATED;
    if bind.read_only || bind.read_only_recursive {
        set |= READ_ONLY;
    }
    if set != 0 {
        mount::set_attributes(&tree, &Attributes { set, ..Attributes::default() }, bind.read_only_recursive)?;
    }
    Ok(tree)
}

fn attach_bind(root: &OwnedFd, bind: &BindPlan, source: OwnedFd) -> io::Result<()> {
    let directory = is_directory(&source)?;
    let target = inside::ensure(root, &bind.target, if directory { Make::Directory } else { Make::File })?;
    if is_directory(&target)? != directory {
        return Err(Errno::NOTDIR.into());
    }
    mount::attach(source, target)
}

fn is_directory(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// What a file that meets a directory needs to be told.
fn bind_cause(error: &io::Error) -> String {
    let text = cause(error);
    match error.raw_os_error() {
        Some(libc::ENOTDIR) => format!(
            "{text}: Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type"
        ),
        _ => text,
    }
}

fn apply(root: &OwnedFd, step: &RootStep) -> Step<()> {
    match step {
        RootStep::Bind { .. } => Ok(()),
        RootStep::Filesystem { target, kind, options, attributes } => {
            let options = options.iter().map(|(key, value)| (key.as_c_str(), value.as_deref()));
            mount_filesystem(root, target, kind, options, *attributes)
                .map_err(|e| describe(format!("mount {} at {}", show(kind), show(target)), &e))
        }
        RootStep::Node { path, mode, device, uid, gid } => make_node(root, path, *mode, *device, *uid, *gid)
            .map_err(|e| describe(format!("make device {}", show(path)), &e)),
        RootStep::Symlink { path, target } => {
            make_symlink(root, path, target).map_err(|e| describe(format!("make symlink {}", show(path)), &e))
        }
        RootStep::Mask { path } => mask(root, path).map_err(|e| describe(format!("mask {}", show(path)), &e)),
        RootStep::Seal { path } => {
            let attributes = Attributes { set: READ_ONLY, ..Attributes::default() };
            inside::open(root, path)
                .and_then(|target| mount::set_attributes(target, &attributes, false))
                .map_err(|e| describe(format!("make {} read-only", show(path)), &e))
        }
        RootStep::ReadOnly { path } => {
            make_read_only(root, path).map_err(|e| describe(format!("make {} read-only", show(path)), &e))
        }
    }
}

fn mount_filesystem<'a>(
    root: &OwnedFd,
    target: &CStr,
    kind: &CStr,
    options: impl Iterator<Item = (&'a CStr, Option<&'a CStr>)>,
    attributes: u32,
) -> io::Result<()> {
    inside::ensure(root, target, Make::Directory)?;
    // An image that makes /proc a link must not decide where it is mounted (CVE-2019-19921).
    let target = inside::open_without_links(root, target)?;
    mount::attach(mount::new_filesystem(kind, options, attributes)?, target)
}

fn make_node(root: &OwnedFd, path: &CStr, mode: u32, device: u64, uid: u32, gid: u32) -> io::Result<()> {
    let (parent, name) = parent_of(root, path)?;
    let permissions = Mode::from_raw_mode(mode & 0o7777);
    match rustix::fs::mknodat(&parent, &name, FileType::from_raw_mode(mode), permissions, device) {
        Ok(()) => {}
        // Another default or device already stands there; the later one wins.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&parent, &name, AtFlags::empty())?;
            rustix::fs::mknodat(&parent, &name, FileType::from_raw_mode(mode), permissions, device)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(rustix::fs::chownat(&parent, &name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn make_symlink(root: &OwnedFd, path: &CStr, target: &CStr) -> io::Result<()> {
    let (parent, name) = parent_of(root, path)?;
    match rustix::fs::symlinkat(target, parent, &name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn parent_of(root: &OwnedFd, path: &CStr) -> io::Result<(OwnedFd, CString)> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let c = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let parent = path.parent().map_or(&b"."[..], |p| p.as_os_str().as_bytes());
    let name = path.file_name().ok_or(Errno::INVAL)?;
    Ok((inside::ensure(root, &c(parent)?, Make::Directory)?, c(name.as_bytes())?))
}

/// Files become `/dev/null`, directories an empty read-only one.
fn mask(root: &OwnedFd, path: &CStr) -> io::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let cover = if is_directory(&target)? {
        let options: [(&CStr, Option<&CStr>); 2] = [(c"size", Some(c"0")), (c"nr_inodes", Some(c"1"))];
        mount::new_filesystem(c"tmpfs", options, READ_ONLY as u32)?
    } else {
        mount::clone_tree(c"/dev/null", false)?
    };
    mount::attach(cover, target)
}

fn make_read_only(root: &OwnedFd, path: &CStr) -> io::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let tree = mount::clone_tree_at(&target, c"", true)?;
    mount::set_attributes(&tree, &Attributes { set: READ_ONLY, ..Attributes::default() }, true)?;
    mount::attach(tree, target)
}

fn existing(root: &OwnedFd, path: &CStr) -> io::Result<Option<OwnedFd>> {
    match inside::open(root, path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes `root` the root directory and lets go of the old one.
fn enter(root: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // The old root comes to lie under the new one (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

fn mount_overlay(plan: &RootPlan) -> io::Result<()> {
    // The layer dies with the container, so nothing in it needs to survive a power loss: no sync on unmount.
    let mut options: Vec<(&CStr, Option<&CStr>)> = Vec::with_capacity(plan.lowers.len() + 3);
    options.extend(plan.lowers.iter().map(|layer| (c"lowerdir+", Some(layer.as_c_str()))));
    options.push((c"upperdir", Some(&plan.upper)));
    options.push((c"workdir", Some(&plan.work)));
    options.push((c"volatile", None));
    match mount::new_filesystem(c"overlay", options, 0) {
        Ok(overlay) => {
            let target = rustix::fs::openat(CWD, &plan.target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            mount::attach(overlay, target)
        }
        // Before Linux 6.7 layers cannot be named one by one.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => mount_overlay_at_once(plan),
        Err(error) => Err(error),
    }
}

/// All layers in one string of at most a page: relative to their common parent they are 65 bytes each.
fn mount_overlay_at_once(plan: &RootPlan) -> io::Result<()> {
    let path = |c: &CString| Path::new(std::ffi::OsStr::from_bytes(c.to_bytes())).to_owned();
    let parent = plan.lowers.first().and_then(|layer| path(layer).parent().map(Path::to_owned)).unwrap_or_default();
    let mut data = b"lowerdir=".to_vec();
    for (at, layer) in plan.lowers.iter().enumerate() {
        if at > 0 {
            data.push(b':');
        }
        let layer = path(layer);
        data.extend_from_slice(layer.strip_prefix(&parent).unwrap_or(&layer).as_os_str().as_bytes());
    }
    for (key, dir) in [(",upperdir=", &plan.upper), (",workdir=", &plan.work)] {
        data.extend_from_slice(key.as_bytes());
        data.extend_from_slice(dir.to_bytes());
    }
    data.extend_from_slice(b",volatile");
    let data = CString::new(data)?;
    rustix::process::chdir(&parent)?;
    Ok(rustix::mount::mount(c"overlay", &plan.target, c"overlay", MountFlags::empty(), Some(data.as_c_str()))?)
}

fn show(text: &CStr) -> std::borrow::Cow<'_, str> {
    text.to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What kernels before 6.7 get.
    #[test]
    fn layers_in_one_string() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = |name: &str| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            crate::sys::c_path(&dir.path().join(name))
        };
        let lowers: Vec<CString> = (0..50).map(|n| path(&format!("layers/{n:064}"))).collect();
        for (n, lower) in lowers.iter().enumerate() {
            fs::write(Path::new(std::ffi::OsStr::from_bytes(lower.to_bytes())).join("top"), n.to_string()).unwrap();
        }
        let plan = RootPlan {
            lowers,
            upper: path("upper"),
            work: path("work"),
            target: path("target"),
            read_only: false,
            steps: Vec::new(),
        };
        let target = dir.path().join("target/top");
        // A thread of its own can leave the mount namespace and the working directory of the others.
        let mounted = std::thread::spawn(move || {
            crate::sys::process::unshare(libc::CLONE_NEWNS).unwrap();
            rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount_overlay_at_once(&plan).unwrap();
            fs::read_to_string(target).unwrap()
        });
        assert_eq!(mounted.join().unwrap(), "0");
    }
}
