//! What is mounted where in a container.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

use super::c_string;
use crate::cgroup::View;
use crate::plan::{BindPlan, RootStep};
use crate::sys::c_path;
use crate::{Mount, Result, RuntimeError};

const NOSUID: u32 = libc::MOUNT_ATTR_NOSUID as u32;
const NODEV: u32 = libc::MOUNT_ATTR_NODEV as u32;
const NOEXEC: u32 = libc::MOUNT_ATTR_NOEXEC as u32;
const READ_ONLY: u32 = libc::MOUNT_ATTR_RDONLY as u32;

/// `/proc`, `/dev` and `/sys` before anything else is mounted.
pub fn kernel_filesystems(privileged: bool) -> Vec<RootStep> {
    let sys = NOSUID | NODEV | NOEXEC | if privileged { 0 } else { READ_ONLY };
    vec![
        filesystem(c"/proc", c"proc", &[], NOSUID | NODEV | NOEXEC),
        filesystem(c"/dev", c"tmpfs", &[(c"mode", c"755"), (c"size", c"65536k")], NOSUID),
        filesystem(c"/sys", c"sysfs", &[], sys),
    ]
}

/// What stands in `/dev` besides nodes. `shm` is the pod's.
pub fn dev_filesystems(shm: &Path) -> Vec<RootStep> {
    // Group 5 is `tty` everywhere.
    let pts = [(c"mode", c"0620"), (c"ptmxmode", c"0666"), (c"gid", c"5")];
    vec![
        filesystem(c"/dev/pts", c"devpts", &pts, NOSUID | NOEXEC),
        filesystem(c"/dev/mqueue", c"mqueue", &[], NOSUID | NODEV | NOEXEC),
        bind(c_path(shm), c"/dev/shm".into(), false, NOSUID | NODEV | NOEXEC),
    ]
}

/// `/sys/fs/cgroup` with the container's own groups at its root.
pub fn cgroups(view: &View, privileged: bool) -> Vec<RootStep> {
    let attributes = NOSUID | NODEV | NOEXEC;
    let top = Path::new("/sys/fs/cgroup");
    let place = |name: &str| c_path(&if name.is_empty() { top.to_owned() } else { top.join(name) });
    let mut steps = Vec::new();
    let many = view.binds.iter().any(|(name, _)| !name.is_empty());
    if many {
        steps.push(filesystem(c"/sys/fs/cgroup", c"tmpfs", &[(c"mode", c"755")], attributes));
    }
    let binds = view.binds.iter();
    steps.extend(binds.map(|(name, dir)| bind(c_path(dir), place(name), !privileged, attributes)));
    steps.extend(
        view.links
            .iter()
            .map(|(name, target)| RootStep::Symlink { path: place(name), target: c_path(Path::new(target)) }),
    );
    if many && !privileged {
        steps.push(RootStep::Seal { path: place("") });
    }
    steps
}

/// The pod's own mounts, shallow ones first, so that none hides another made before it.
pub fn volumes(mounts: &[Mount], own_users: bool) -> Result<Vec<RootStep>> {
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    sorted.sort_by_key(|mount| depth(&mount.container_path));
    sorted.into_iter().map(|mount| volume(mount, own_users)).collect()
}

fn volume(mount: &Mount, own_users: bool) -> Result<RootStep> {
    if !mount.container_path.is_absolute() {
        let shown = mount.container_path.display();
        return Err(RuntimeError::Start(format!("mount path \"{shown}\" is not absolute")));
    }
    let propagation = match mount.propagation.as_str() {
        "" | "private" | "rprivate" => libc::MS_PRIVATE,
        "slave" | "rslave" => libc::MS_SLAVE,
        "shared" | "rshared" => libc::MS_SHARED,
        other => return Err(RuntimeError::Start(format!("mount propagation \"{other}\" is not known"))),
    };
    make_missing(&mount.host_path)?;
    Ok(RootStep::Bind {
        bind: BindPlan {
            source: c_string(mount.host_path.as_os_str().as_encoded_bytes())?,
            target: c_string(mount.container_path.as_os_str().as_encoded_bytes())?,
            recursive: true,
            read_only: mount.read_only,
            read_only_recursive: mount.recursive_read_only,
            propagation,
            attributes: if own_users { libc::MOUNT_ATTR_IDMAP as u32 } else { 0 },
        },
    })
}

/// A host path of no type need not exist: a directory is made then, as dockershim did and containerd does.
fn make_missing(path: &PathBuf) -> Result<()> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(path).map_err(|e| {
            RuntimeError::Start(format!("failed to mkdir \"{}\": {}", path.display(), crate::init::cause(&e)))
        }),
        _ => Ok(()),
    }
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

fn filesystem(target: &CStr, kind: &CStr, options: &[(&CStr, &CStr)], attributes: u32) -> RootStep {
    let options = options.iter().map(|(key, value)| (CString::from(*key), Some(CString::from(*value)))).collect();
    RootStep::Filesystem { target: target.into(), kind: kind.into(), options, attributes }
}

/// A device of the host under a name in the container: a node cannot be made by users that are not the host's.
pub fn bind_device(source: CString, target: CString) -> RootStep {
    bind(source, target, false, 0)
}

fn bind(source: CString, target: CString, read_only: bool, attributes: u32) -> RootStep {
    let propagation = libc::MS_PRIVATE;
    let read_only_recursive = false;
    let recursive = false;
    RootStep::Bind {
        bind: BindPlan { source, target, recursive, read_only, read_only_recursive, propagation, attributes },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_ordered_and_checked() {
        let mount = |path: &str, propagation: &str| Mount {
            container_path: path.into(),
            host_path: "/".into(),
            propagation: propagation.into(),
            ..Mount::default()
        };
        let steps = volumes(&[mount("/a/b", ""), mount("/z", "rshared"), mount("/a", "rslave")], false).unwrap();
        let targets: Vec<(String, u64)> = steps
            .iter()
            .map(|step| match step {
                RootStep::Bind { bind } => (bind.target.to_str().unwrap().to_owned(), bind.propagation),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            targets,
            [("/z".into(), libc::MS_SHARED), ("/a".into(), libc::MS_SLAVE), ("/a/b".into(), libc::MS_PRIVATE)]
        );
        assert!(volumes(&[mount("a", "")], false).is_err());
        assert!(volumes(&[mount("/a", "sideways")], false).is_err());
    }

    #[test]
    fn both_shapes_of_cgroups() {
        let one = View { binds: vec![(String::new(), "/c".into())], links: vec![] };
        assert_eq!(cgroups(&one, false).len(), 1);
        let two = View {
            binds: vec![("cpu,cpuacct".into(), "/c".into()), ("memory".into(), "/m".into())],
            links: vec![("cpu".into(), "cpu,cpuacct".into())],
        };
        assert_eq!(cgroups(&two, false).len(), 5);
        assert_eq!(cgroups(&two, true).len(), 4);
    }
}
