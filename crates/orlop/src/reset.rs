//! `orlop reset`: this machine as it was before Orlop.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use orlop_host::linux::Linux;
use orlop_store::disk::RealDisk;

use crate::logging::{answer, say};
use crate::node::BRIDGE;
use crate::paths::{self, Paths};

/// Where log collectors look.
const CONTAINER_LOGS: &str = "/var/log/containers";
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
    // The runtime has written down which control groups are its own; before it ran there were none.
    orlop_runtime::reset(&paths.runtime("")).await.context("removing containers")?;
    remove_cgroup_roots()?;
    unmount_below(&paths.kubelet())?;
    unmount_below(&paths.run)?;
    let dataplane = Linux::new().context("reaching the kernel's network")?;
    orlop_network::node::reset(&dataplane, BRIDGE, &paths.owner()).context("removing links and service rules")?;
    remove_logs(&paths.pods(), &arguments.pod_logs_dir, Path::new(CONTAINER_LOGS))?;
    remove(&paths.kubelet())?;
    remove(&paths.network())?;
    remove(&paths.run)?;
    if !arguments.keep_data {
        remove(&paths.data)?;
    }
    answer("removed");
    Ok(())
}

/// Logs of the pods that this node has directories of, and links to them. Others may keep theirs beside them.
fn remove_logs(pods: &Path, logs: &Path, links: &Path) -> Result<()> {
    let uids: Vec<OsString> = entries(pods)?.iter().filter_map(|dir| Some(dir.file_name()?.to_owned())).collect();
    let of_ours = |dir: &Path| {
        // `<namespace>_<name>_<uid>`
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.rsplit_once('_').is_some_and(|(_, uid)| uids.iter().any(|known| known == uid))
    };
    for dir in entries(logs)?.iter().filter(|dir| of_ours(dir)) {
        remove(dir)?;
    }
    for link in entries(links)? {
        let target = std::fs::read_link(&link).unwrap_or_default();
        if target.starts_with(logs) && !target.exists() {
            std::fs::remove_file(&link).with_context(|| format!("removing {}", link.display()))?;
        }
    }
    for dir in [logs, links] {
        // Somebody else's, if there is anything left.
        let _ = std::fs::remove_dir(dir);
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        found => found
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .with_context(|| format!("reading {}", dir.display())),
    }
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
    let Ok(dir) = dir.canonicalize() else { return Ok(()) };
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading the mount table")?;
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(&dir))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn logs_of_other_nodes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, logs, links) = (dir.path().join("pods"), dir.path().join("logs"), dir.path().join("links"));
        for made in [pods.join("u1"), logs.join("default_web_u1/c"), logs.join("default_web_u2/c"), links.clone()] {
            fs::create_dir_all(made).unwrap();
        }
        for pod in ["default_web_u1", "default_web_u2"] {
            fs::write(logs.join(pod).join("c/0.log"), "").unwrap();
            symlink(logs.join(pod).join("c/0.log"), links.join(pod)).unwrap();
        }
        remove_logs(&pods, &logs, &links).unwrap();
        assert_eq!(entries(&logs).unwrap(), [logs.join("default_web_u2")]);
        assert_eq!(entries(&links).unwrap(), [links.join("default_web_u2")]);
        fs::rename(pods.join("u1"), pods.join("u2")).unwrap();
        remove_logs(&pods, &logs, &links).unwrap();
        assert!(!logs.exists() && !links.exists());
    }
}
