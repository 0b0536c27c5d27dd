//! Device nodes in a container, and the rules that let it use them.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FileType, makedev};

use super::mounts::bind_device;
use crate::cgroup::devices::{DeviceKind, DeviceRule};
use crate::plan::RootStep;
use crate::sys::c_path;
use crate::{Device, Result, RuntimeError};

/// Nodes every container has (opencontainers/runtime-spec, "Default Devices").
const DEFAULT_NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// And links.
const DEFAULT_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Of the host's `/dev` a privileged container gets all but what is a file system of its own, or the
/// host's terminal.
const NOT_PRIVILEGED: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "hugepages"];
/// Real ones go three levels deep (`/dev/bus/usb/001/002`).
const DEPTH_MAX: usize = 6;

pub fn default_steps(own_users: bool) -> impl Iterator<Item = RootStep> {
    let nodes = DEFAULT_NODES.iter().map(move |(name, major, minor)| {
        let path = c_path(&Path::new("/dev").join(name));
        if own_users {
            return bind_device(path.clone(), path);
        }
        let mode = FileType::CharacterDevice.as_raw_mode() | 0o666;
        RootStep::Node { path, mode, device: makedev(*major, *minor), uid: 0, gid: 0 }
    });
    let links = DEFAULT_LINKS.iter().map(|(name, target)| RootStep::Symlink {
        path: c_path(&Path::new("/dev").join(name)),
        target: c_path(Path::new(target)),
    });
    nodes.chain(links)
}

/// Nodes of the devices a container asks for, and their rules.
pub fn requested(devices: &[Device], own_users: bool) -> Result<(Vec<RootStep>, Vec<DeviceRule>)> {
    let (mut steps, mut rules) = (Vec::new(), Vec::new());
    for device in devices {
        let shown = device.host_path.display();
        let meta = device.host_path.metadata().map_err(|e| {
            RuntimeError::Start(format!("error gathering device information while adding device \"{shown}\": {e}"))
        })?;
        if meta.is_dir() {
            // A directory stands for every device below it (`/dev/snd`).
            let mut found = Vec::new();
            collect(&device.host_path, DEPTH_MAX, &mut found);
            for (path, meta) in found {
                let below = path.strip_prefix(&device.host_path).unwrap_or(&path).to_owned();
                steps.extend(node(&device.container_path.join(below), &path, &meta, own_users));
                rules.extend(rule(&meta, &device.permissions));
            }
            continue;
        }
        let Some(step) = node(&device.container_path, &device.host_path, &meta, own_users) else {
            return Err(RuntimeError::Start(format!("error adding device \"{shown}\": not a device node")));
        };
        steps.push(step);
        rules.extend(rule(&meta, &device.permissions));
    }
    Ok((steps, rules))
}

/// Every device of the host.
pub fn of_host(own_users: bool) -> Vec<RootStep> {
    let mut found = Vec::new();
    collect(Path::new("/dev"), DEPTH_MAX, &mut found);
    found.iter().filter_map(|(path, meta)| node(path, path, meta, own_users)).collect()
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<(std::path::PathBuf, Metadata)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.filter_map(std::result::Result::ok) {
        let Ok(meta) = entry.metadata() else { continue };
        if entry.file_name().to_str().is_some_and(|name| NOT_PRIVILEGED.contains(&name)) {
            continue;
        }
        if meta.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, found);
        } else if kind(&meta).is_some() {
            found.push((entry.path(), meta));
        }
    }
}

fn kind(meta: &Metadata) -> Option<DeviceKind> {
    let file_type = meta.file_type();
    if file_type.is_char_device() {
        Some(DeviceKind::Char)
    } else if file_type.is_block_device() {
        Some(DeviceKind::Block)
    } else {
        None
    }
}

fn node(path: &Path, on_host: &Path, meta: &Metadata, own_users: bool) -> Option<RootStep> {
    kind(meta)?;
    if own_users {
        return Some(bind_device(c_path(on_host), c_path(path)));
    }
    Some(RootStep::Node {
        path: c_path(path),
        mode: meta.mode(),
        device: meta.rdev(),
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

fn rule(meta: &Metadata, permissions: &str) -> Option<DeviceRule> {
    let permissions = if permissions.is_empty() { "rwm" } else { permissions };
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Some(DeviceRule::new(kind(meta)?, Some(major), Some(minor), permissions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_looked_up_on_the_host() {
        let device =
            |path: &str| Device { container_path: "/dev/x".into(), host_path: path.into(), permissions: "rw".into() };
        let (steps, rules) = requested(&[device("/dev/null")], false).unwrap();
        assert!(matches!(&steps[..], [RootStep::Node { path, .. }] if path.as_c_str() == c"/dev/x"));
        assert_eq!(rules[0].line(), "c 1:3 rw");
        assert!(requested(&[device("/dev/none-such")], false).unwrap_err().to_string().contains("/dev/none-such"));
        assert!(requested(&[device("/etc/passwd")], false).unwrap_err().to_string().contains("not a device node"));
        let host = of_host(false);
        assert!(host.iter().any(|s| matches!(s, RootStep::Node { path, .. } if path.as_c_str() == c"/dev/null")));
    }
}
