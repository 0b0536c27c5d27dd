//! The mounts this node makes: memory-backed volumes and sub-paths.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::image::KIND;

/// Mounting, as volumes need it. All calls are quick and block.
pub trait Mounter: Send + Sync + 'static {
    /// A tmpfs that holds at most `size_bytes`.
    fn tmpfs(&self, target: &Path, size_bytes: Option<u64>) -> io::Result<()>;
    /// A hugetlbfs of pages of this size.
    fn hugepages(&self, target: &Path, page_bytes: u64) -> io::Result<()>;
    /// What `source` holds open, bound to `target`.
    fn bind(&self, source: BorrowedFd<'_>, target: &Path) -> io::Result<()>;
    /// Read-only layers (topmost first) as one tree.
    fn layers(&self, layers: &[PathBuf], target: &Path) -> io::Result<()>;
    fn unmount(&self, target: &Path) -> io::Result<()>;
    fn is_mounted(&self, target: &Path) -> io::Result<bool>;
    /// Mount points below `dir`, innermost first.
    fn mounts_below(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The kernel's.
#[derive(Debug, Default)]
pub struct SystemMounter;

impl Mounter for SystemMounter {
    fn tmpfs(&self, target: &Path, size_bytes: Option<u64>) -> io::Result<()> {
        let options = size_bytes.map(|bytes| format!("size={bytes}"));
        Ok(mount("tmpfs", target, "tmpfs", MountFlags::empty(), option(options).as_deref())?)
    }

    fn hugepages(&self, target: &Path, page_bytes: u64) -> io::Result<()> {
        let options = option(Some(format!("pagesize={page_bytes}")));
        Ok(mount("nodev", target, "hugetlbfs", MountFlags::empty(), options.as_deref())?)
    }

    fn bind(&self, source: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
        // The descriptor, not the path: the container may have changed the path by now.
        let source = format!("/proc/self/fd/{}", source.as_raw_fd());
        Ok(mount_bind(source, target)?)
    }

    fn layers(&self, layers: &[PathBuf], target: &Path) -> io::Result<()> {
        if let [only] = layers {
            mount_bind(only, target)?;
            return Ok(rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "")?);
        }
        let lower: Vec<String> = layers.iter().map(|l| l.display().to_string()).collect();
        let options = option(Some(format!("lowerdir={}", lower.join(":"))));
        Ok(mount("overlay", target, "overlay", MountFlags::RDONLY, options.as_deref())?)
    }

    fn unmount(&self, target: &Path) -> io::Result<()> {
        match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_mounted(&self, target: &Path) -> io::Result<bool> {
        match statx(CWD, target, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(stat) => Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn mounts_below(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(below(&std::fs::read_to_string("/proc/self/mountinfo")?, dir))
    }
}

fn option(text: Option<String>) -> Option<std::ffi::CString> {
    text.and_then(|text| std::ffi::CString::new(text).ok())
}

fn below(mountinfo: &str, dir: &Path) -> Vec<PathBuf> {
    let targets = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut found: Vec<PathBuf> = targets.map(PathBuf::from).filter(|t| t.starts_with(dir)).collect();
    // Later mounts cover earlier ones, so they go first.
    found.reverse();
    found
}

/// mountinfo writes space, tab, newline and backslash as `\ooo`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        out.push(code.map_or('\\', char::from));
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

/// Directories of this machine that are mounted elsewhere as image volumes: bound whole, or a layer among
/// several.
pub fn mounted_layers() -> io::Result<Vec<PathBuf>> {
    Ok(sources(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

fn sources(mountinfo: &str) -> Vec<PathBuf> {
    let image = |target: &str| unescape(target).contains(&format!("/kubernetes.io~{KIND}/"));
    let volumes = mountinfo.lines().filter(|line| line.split(' ').nth(4).is_some_and(image));
    let mut found = Vec::new();
    for line in volumes {
        let (mount, file_system) = line.split_once(" - ").unwrap_or((line, ""));
        let options = file_system.split(' ').nth(2).unwrap_or_default();
        match options.split(',').find_map(|option| option.strip_prefix("lowerdir=")) {
            Some(layers) => found.extend(layers.split(':').map(unescape).map(PathBuf::from)),
            None => found.extend(mount.split(' ').nth(3).map(unescape).map(PathBuf::from)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_under_image_volumes() {
        let info = "1 0 8:1 / / rw - ext4 a rw\n\
                    2 1 8:1 /var/images/layers/aa /k/u/volumes/kubernetes.io~image/v ro - ext4 a rw\n\
                    3 1 0:3 / /k/u/volumes/kubernetes.io~image/w ro - overlay overlay ro,lowerdir=/i/layers/bb:/i/layers/cc\n\
                    4 1 0:4 / /k/u/volumes/kubernetes.io~secret/s rw - tmpfs t rw\n";
        let expected = ["/var/images/layers/aa", "/i/layers/bb", "/i/layers/cc"];
        assert_eq!(sources(info), expected.map(PathBuf::from));
    }

    #[test]
    fn mounts_of_a_directory_innermost_first() {
        let info = "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /p/u/v rw - tmpfs t rw\n3 1 0:3 / /p/u/v/a\\040b rw - tmpfs t rw\n\
                    4 1 0:4 / /p/u2 rw - tmpfs t rw\n";
        assert_eq!(below(info, Path::new("/p/u")), [PathBuf::from("/p/u/v/a b"), PathBuf::from("/p/u/v")]);
    }
}
