//! `orlop reset`: this machine as it was before Orlop.

use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use orlop_host::linux::Linux;
use orlop_store::disk::RealDisk;

use crate::logging::{answer, say};
use crate::paths::{self, Paths};

/// Above all our control groups.
const CGROUP: &str = "orlop";

#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the cluster's state is kept
    #[arg(long, default_value = paths::DATA_DIR)]
    data_dir: PathBuf,
    /// Where sockets and mounts of running pods are kept
    #[arg(long, default_value = paths::RUN_DIR)]
    run_dir: PathBuf,
    /// Logs of pods
    #[arg(long, default_value = "/var/log/pods")]
    pod_logs_dir: PathBuf,
    /// Name of this node [default: the host name]
    #[arg(long)]
    node_name: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Keep what the cluster knows: objects, keys and images
    #[arg(long)]
    keep_data: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.yes {
        if !std::io::stdin().is_terminal() {
            bail!(
                "this removes all pods, and with them the cluster's data in {}: say --yes",
                arguments.data_dir.display()
            );
        }
        say(format!("This removes all pods of this machine and {}. Go on? [y/N]", arguments.data_dir.display()));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        if !matches!(line.trim(), "y" | "Y" | "yes") {
            bail!("nothing was changed");
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(reset(arguments))
}

async fn reset(arguments: &Arguments) -> Result<()> {
    let paths = Paths::new(&arguments.data_dir, &arguments.run_dir);
    match RealDisk::open(&paths.store()) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            bail!("the cluster is running: stop 'orlop server' first")
        }
        held => drop(held),
    }
    let host_name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let node_name = arguments.node_name.clone().unwrap_or(host_name);
    orlop_runtime::reset(&paths.runtime(&node_name)).await.context("removing containers")?;
    remove_cgroup_roots()?;
    unmount_below(&paths.kubelet())?;
    unmount_below(&paths.run)?;
    let dataplane = Linux::new().context("reaching the kernel's network")?;
    orlop_network::node::reset(&dataplane).context("removing links and service rules")?;
    remove(&paths.kubelet())?;
    remove(&paths.network())?;
    remove(&arguments.pod_logs_dir)?;
    remove(Path::new("/var/log/containers"))?;
    remove(&paths.run)?;
    if !arguments.keep_data {
        remove(&paths.data)?;
    }
    answer("removed");
    Ok(())
}

/// The parents of every node's cgroups, where no other node of this machine has any: one in each
/// hierarchy of cgroups v1, one at all in v2.
fn remove_cgroup_roots() -> Result<()> {
    let mount = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(mount).context("reading the control groups")?;
    let below = hierarchies.filter_map(std::result::Result::ok).map(|entry| entry.path().join(CGROUP));
    for path in below.chain([mount.join(CGROUP)]) {
        match std::fs::remove_dir(&path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ResourceBusy
                ) =>
            {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Volumes of pods: tmpfs and bind mounts, deepest first.
fn unmount_below(dir: &Path) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading the mount table")?;
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(dir))
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in points {
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH)
            .with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
