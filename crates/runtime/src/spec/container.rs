//! A whole container.

use std::path::{Path, PathBuf};

use super::{devices, mounts, process, users};
use crate::cgroup::View;
use crate::cgroup::devices::DeviceRule;
use crate::plan::{CgroupPlan, ContainerPlan, PidNamespace, RootPlan, RootStep};
use crate::sys::c_path;
use crate::{ContainerConfig, Result, RuntimeError, SandboxConfig};

/// Where a container's things are on the host.
pub struct Places {
    /// Its record directory; `upper`, `work` and `rootfs` are in it.
    pub dir: PathBuf,
    /// The pod's `/dev/shm`.
    pub shm: PathBuf,
}

/// The plan, and which devices the container's cgroup is to allow (`None`: all).
pub fn container(
    id: &str,
    config: &ContainerConfig,
    sandbox: &SandboxConfig,
    places: &Places,
    cgroup: CgroupPlan,
    view: &View,
) -> Result<(ContainerPlan, Option<Vec<DeviceRule>>)> {
    if config.rootfs_layers.is_empty() {
        return Err(RuntimeError::Start("the image has no layers".into()));
    }
    let (steps, rules) = root_steps(config, places, view, sandbox.users.is_some())?;
    let plan = ContainerPlan {
        id: id.to_owned(),
        dir: c_path(&places.dir),
        log: c_path(&config.log_path),
        tty: config.tty,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        pid: pid_namespace(config, sandbox),
        cgroup,
        root: RootPlan {
            lowers: config.rootfs_layers.iter().map(|layer| c_path(layer)).collect(),
            upper: c_path(&places.dir.join("upper")),
            work: c_path(&places.dir.join("work")),
            target: c_path(&places.dir.join("rootfs")),
            read_only: config.security.read_only_rootfs,
            steps,
        },
        process: process(config, &sandbox.hostname)?,
        runtime: None,
        users: sandbox.users.map(users),
    };
    Ok((plan, rules))
}

fn root_steps(
    config: &ContainerConfig,
    places: &Places,
    view: &View,
    own_users: bool,
) -> Result<(Vec<RootStep>, Option<Vec<DeviceRule>>)> {
    let security = &config.security;
    let privileged = security.privileged;
    let mut steps = mounts::kernel_filesystems(privileged);
    if privileged {
        steps.extend(devices::of_host(own_users));
    }
    steps.extend(devices::default_steps(own_users));
    steps.extend(mounts::dev_filesystems(&places.shm));
    steps.extend(mounts::cgroups(view, privileged));
    let (nodes, requested) = devices::requested(&config.devices, own_users)?;
    steps.extend(nodes);
    steps.extend(mounts::volumes(&config.mounts, own_users)?);
    let mut rules = None;
    if !privileged {
        steps.extend(security.masked_paths.iter().map(|path| RootStep::Mask { path: c_path(Path::new(path)) }));
        steps.extend(security.readonly_paths.iter().map(|path| RootStep::ReadOnly { path: c_path(Path::new(path)) }));
        rules = Some(DeviceRule::defaults().into_iter().chain(requested).collect());
    }
    Ok((steps, rules))
}

fn pid_namespace(config: &ContainerConfig, sandbox: &SandboxConfig) -> PidNamespace {
    match &config.target_container {
        Some(id) => PidNamespace::Container { id: id.clone() },
        None if sandbox.host.pid => PidNamespace::Host,
        None if sandbox.share_pid => PidNamespace::Pod,
        None => PidNamespace::Own,
    }
}
