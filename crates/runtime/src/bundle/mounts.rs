//! The steps of a root file system as mounts, devices and paths. Links in `/dev` are every runtime's own
//! business.

use std::ffi::CStr;

use rustix::fs::FileType;
use serde_json::{Value, json};

use crate::plan::{BindPlan, RootStep};

/// Every mount in order, and the container's own groups at `/sys/fs/cgroup` as soon as there is a `/sys`.
pub fn mounts(steps: &[RootStep], privileged: bool) -> Vec<Value> {
    let mut mounts = Vec::new();
    for step in steps {
        match step {
            RootStep::Filesystem { target, kind, options, attributes } => {
                let given = options.iter().map(|(key, value)| option(key, value.as_deref()));
                let options: Vec<String> = attribute_names(*attributes).chain(given).collect();
                let (target, kind) = (text(target), text(kind));
                mounts.push(json!({ "destination": target, "type": kind, "source": kind, "options": options }));
                if target == "/sys" {
                    mounts.push(cgroups(privileged));
                }
            }
            RootStep::Bind { bind } => mounts.push(bind_mount(bind)),
            _ => {}
        }
    }
    mounts
}

fn cgroups(privileged: bool) -> Value {
    let access = if privileged { "rw" } else { "ro" };
    json!({
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", access],
    })
}

fn bind_mount(bind: &BindPlan) -> Value {
    let access = match (bind.read_only_recursive, bind.read_only) {
        (true, _) => "rro",
        (false, true) => "ro",
        (false, false) => "rw",
    };
    let options = [if bind.recursive { "rbind" } else { "bind" }, access, propagation(bind.propagation)];
    let options = options.into_iter().map(str::to_owned).chain(attribute_names(bind.attributes));
    json!({
        "destination": text(&bind.target),
        "type": "bind",
        "source": text(&bind.source),
        "options": options.collect::<Vec<String>>(),
    })
}

fn propagation(flag: u64) -> &'static str {
    match flag {
        libc::MS_SHARED => "rshared",
        libc::MS_SLAVE => "rslave",
        _ => "rprivate",
    }
}

/// What the root must be so that mounts below it can follow the host's, and the host's theirs.
pub fn root_propagation(steps: &[RootStep]) -> Option<&'static str> {
    let flags: Vec<u64> = steps
        .iter()
        .filter_map(|step| if let RootStep::Bind { bind } = step { Some(bind.propagation) } else { None })
        .collect();
    [libc::MS_SHARED, libc::MS_SLAVE].into_iter().find(|flag| flags.contains(flag)).map(propagation)
}

pub fn devices(steps: &[RootStep]) -> Vec<Value> {
    let mut devices: Vec<Value> = Vec::new();
    for step in steps {
        let RootStep::Node { path, mode, device, uid, gid } = step else { continue };
        let block = FileType::from_raw_mode(*mode) == FileType::BlockDevice;
        let path = text(path);
        // The later one wins, as in our own init.
        devices.retain(|known| known["path"] != path.as_str());
        devices.push(json!({
            "path": path,
            "type": if block { "b" } else { "c" },
            "major": rustix::fs::major(*device),
            "minor": rustix::fs::minor(*device),
            "fileMode": mode & 0o7777,
            "uid": uid,
            "gid": gid,
        }));
    }
    devices
}

pub fn masked(steps: &[RootStep]) -> Vec<String> {
    steps.iter().filter_map(|step| if let RootStep::Mask { path } = step { Some(text(path)) } else { None }).collect()
}

pub fn read_only(steps: &[RootStep]) -> Vec<String> {
    steps
        .iter()
        .filter_map(|step| if let RootStep::ReadOnly { path } = step { Some(text(path)) } else { None })
        .collect()
}

fn option(key: &CStr, value: Option<&CStr>) -> String {
    value.map_or_else(|| text(key), |value| format!("{}={}", text(key), text(value)))
}

fn attribute_names(attributes: u32) -> impl Iterator<Item = String> {
    let known = [
        (libc::MOUNT_ATTR_NOSUID, "nosuid"),
        (libc::MOUNT_ATTR_NODEV, "nodev"),
        (libc::MOUNT_ATTR_NOEXEC, "noexec"),
        (libc::MOUNT_ATTR_RDONLY, "ro"),
    ];
    known.into_iter().filter(move |(bit, _)| u64::from(attributes) & *bit != 0).map(|(_, name)| name.to_owned())
}

fn text(path: &CStr) -> String {
    path.to_string_lossy().into_owned()
}
