//! Version 1: a tree per controller, and beside them perhaps a version 2 tree without controllers, which
//! still kills atomically.

use std::io;
use std::path::{Path, PathBuf};

use super::devices::DeviceRule;
use super::{Hierarchy, View, convert, files, tree};
use crate::plan::CgroupPlan;
use crate::sys::c_path;
use crate::{Resources, Stats};

/// Trees that every group stands in. Others would cost each start a move more and give nothing: `freezer` is
/// not needed to kill, `blkio` and `net_cls` have no field in a pod.
const WANTED: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "devices"];
/// Where a service manager looks for what belongs to a service: shims must not be found in ours.
const MANAGER: &str = "name=systemd";

/// One mounted tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub dir: PathBuf,
    pub controllers: Vec<String>,
}

pub struct Version1 {
    trees: Vec<Mounted>,
    unified: Option<PathBuf>,
    root: String,
}

/// The version 1 trees of a mountinfo table.
pub fn mounted(mountinfo: &str) -> Vec<Mounted> {
    let mut trees: Vec<Mounted> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(dir) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        if right.next() != Some("cgroup") {
            continue;
        }
        let options = right.nth(1).unwrap_or_default();
        let controllers: Vec<String> =
            options.split(',').filter(|o| !matches!(*o, "rw" | "ro" | "xattr")).map(str::to_owned).collect();
        // A tree mounted twice is still one.
        if !trees.iter().any(|tree| tree.controllers == controllers) {
            trees.push(Mounted { dir: dir.into(), controllers });
        }
    }
    trees
}

impl Version1 {
    /// `None` when no controller that matters is in version 1.
    pub fn new(trees: Vec<Mounted>, unified: Option<PathBuf>, root: String) -> Option<Self> {
        let v1 = Self { trees, unified, root };
        (v1.tree("memory").is_some() || v1.tree("cpu").is_some()).then_some(v1)
    }

    fn tree(&self, controller: &str) -> Option<&Mounted> {
        self.trees.iter().find(|tree| tree.controllers.iter().any(|c| c == controller))
    }

    fn dir(&self, controller: &str, path: &str) -> Option<PathBuf> {
        Some(self.place(&self.tree(controller)?.dir, path))
    }

    fn place(&self, mount: &Path, path: &str) -> PathBuf {
        mount.join(&self.root).join(path.trim_matches('/'))
    }

    /// The trees every group is in, each once although it may have several controllers.
    fn common(&self) -> impl Iterator<Item = &Mounted> {
        self.trees.iter().filter(|tree| tree.controllers.iter().any(|c| WANTED.contains(&c.as_str())))
    }

    /// Every place where a group may stand.
    fn places(&self, path: &str) -> Vec<PathBuf> {
        let mounts = self.trees.iter().map(|tree| &tree.dir).chain(&self.unified);
        mounts.map(|mount| self.place(mount, path)).collect()
    }

    /// Gives a group its own cpuset and moves what runs in it there. A fresh one is empty and takes nobody.
    fn set_cpuset(&self, path: &str, cpus: &str) -> io::Result<()> {
        let Some(tree) = self.tree("cpuset") else { return Ok(()) };
        let mut dir = tree.dir.clone();
        for part in Path::new(&self.root).join(path.trim_matches('/')).components() {
            let (cpus, mems) = (files::read(&dir, "cpuset.cpus")?, files::read(&dir, "cpuset.mems")?);
            dir.push(part);
            files::make_dir(&dir)?;
            if files::read(&dir, "cpuset.mems")?.trim().is_empty() {
                files::write(&dir, "cpuset.mems", mems.trim())?;
                files::write(&dir, "cpuset.cpus", cpus.trim())?;
            }
        }
        files::write(&dir, "cpuset.cpus", cpus)?;
        let members = self.dir("pids", path).or_else(|| self.dir("cpu", path)).unwrap_or_default();
        for pid in tree::pids(&members) {
            files::write(&dir, "cgroup.procs", &pid.to_string())?;
        }
        Ok(())
    }

    fn set_cpu(&self, path: &str, resources: &Resources, fresh: bool) -> io::Result<()> {
        let Some(dir) = self.dir("cpu", path) else { return Ok(()) };
        if let Some(shares) = resources.cpu_shares {
            files::write(&dir, "cpu.shares", &shares.to_string())?;
        }
        if let Some(period) = resources.cpu_period_us {
            // A period may not come to undercut the quota that stands.
            if files::write(&dir, "cpu.cfs_period_us", &period.to_string()).is_err() {
                files::write(&dir, "cpu.cfs_quota_us", "-1")?;
                files::write(&dir, "cpu.cfs_period_us", &period.to_string())?;
            }
        }
        match resources.cpu_quota_us {
            Some(quota) => files::write(&dir, "cpu.cfs_quota_us", &quota.to_string()),
            None if fresh => Ok(()),
            None => files::write_if_exists(&dir, "cpu.cfs_quota_us", "-1"),
        }
    }

    /// Memory, and memory with swap: the same, so that a limit means no swap. The second may never be less
    /// than the first, so which is written first depends on the direction.
    fn set_memory(&self, path: &str, resources: &Resources, fresh: bool) -> io::Result<()> {
        let Some(dir) = self.dir("memory", path) else { return Ok(()) };
        let limit = match resources.memory_limit_bytes {
            Some(limit) if limit > 0 => limit.to_string(),
            _ if fresh => return Ok(()),
            _ => "-1".to_owned(),
        };
        let (memory, with_swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        if files::write(&dir, memory, &limit).is_err() {
            files::write_if_exists(&dir, with_swap, &limit)?;
            return files::write(&dir, memory, &limit);
        }
        files::write_if_exists(&dir, with_swap, &limit)
    }

    fn set_hugepages(&self, path: &str, resources: &Resources) -> io::Result<()> {
        for (size, limit) in &resources.hugepages {
            let Some(size) = convert::hugepage_file_size(size) else { continue };
            if let Some(dir) = self.dir("hugetlb", path) {
                files::make_dir(&dir)?;
                files::write(&dir, &format!("hugetlb.{size}.limit_in_bytes"), &limit.to_string())?;
            } else if let Some(unified) = &self.unified {
                super::v2::enable(unified, &Path::new(&self.root).join(path.trim_matches('/')), &["hugetlb"])?;
                files::write(&self.place(unified, path), &format!("hugetlb.{size}.max"), &limit.to_string())?;
            }
        }
        Ok(())
    }
}

impl Hierarchy for Version1 {
    fn create(&self, path: &str) -> io::Result<bool> {
        let mut fresh = false;
        for mount in self.common().map(|tree| &tree.dir).chain(&self.unified) {
            fresh |= files::make_dir(&self.place(mount, path))?;
        }
        Ok(fresh)
    }

    fn create_apart(&self, path: &str) -> io::Result<bool> {
        if let Some(dir) = self.dir(MANAGER, path) {
            files::make_dir(&dir)?;
        }
        self.create(path)
    }

    fn apply(&self, path: &str, resources: &Resources, fresh: bool) -> io::Result<()> {
        self.set_cpu(path, resources, fresh)?;
        self.set_memory(path, resources, fresh)?;
        if let (Some(limit), Some(dir)) = (resources.pids_limit, self.dir("pids", path)) {
            let limit = if limit > 0 { limit.to_string() } else { "max".into() };
            files::write(&dir, "pids.max", &limit)?;
        }
        if let Some(cpus) = resources.cpuset_cpus.as_deref().filter(|cpus| !cpus.is_empty()) {
            self.set_cpuset(path, cpus)?;
        }
        self.set_hugepages(path, resources)
    }

    fn seal(&self, path: &str, devices: &[DeviceRule]) -> io::Result<()> {
        let Some(dir) = self.dir("devices", path) else { return Ok(()) };
        files::write(&dir, "devices.deny", "a")?;
        devices.iter().try_for_each(|rule| files::write(&dir, "devices.allow", &rule.line()))
    }

    fn stats(&self, path: &str) -> io::Result<Stats> {
        let mut stats = Stats { unix_nanos: orlop_base::clock::unix_nanos(), ..Stats::default() };
        if let Some(dir) = self.dir("cpuacct", path) {
            stats.cpu_usage_nanos = files::number(&dir, "cpuacct.usage")?;
        }
        if let Some(dir) = self.dir("memory", path) {
            let text = files::read(&dir, "memory.stat")?;
            stats.memory_usage_bytes = files::number(&dir, "memory.usage_in_bytes")?;
            let inactive = files::field(&text, "total_inactive_file");
            stats.memory_working_set_bytes = stats.memory_usage_bytes.saturating_sub(inactive);
            stats.memory_rss_bytes = files::field(&text, "total_rss");
        }
        if let Some(dir) = self.dir("pids", path) {
            stats.pids = files::number(&dir, "pids.current")?;
        }
        Ok(stats)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        tree::remove(&self.places(path))
    }

    fn remove_root(&self) -> io::Result<()> {
        self.remove("")?;
        let mounts = self.trees.iter().map(|tree| &tree.dir).chain(&self.unified);
        mounts.for_each(|mount| tree::prune(mount, &self.root));
        Ok(())
    }

    fn plan(&self, path: &str) -> CgroupPlan {
        // Trees that only some groups stand in (cpuset, hugetlb) count where the group exists.
        let trees = self.trees.iter().map(|tree| self.place(&tree.dir, path)).filter(|dir| dir.exists());
        let tasks = trees.map(|dir| c_path(&dir.join("tasks"))).collect();
        let unified = self.unified.as_ref().map(|mount| self.place(mount, path));
        let kill = match &unified {
            Some(dir) => Some(dir.join("cgroup.kill")),
            None => self.dir("pids", path).map(|dir| dir.join("cgroup.procs")),
        };
        CgroupPlan {
            tasks,
            unified: unified.as_deref().map(c_path),
            oom: self.dir("memory", path).map(|dir| c_path(&dir.join("memory.oom_control"))),
            kill: kill.as_deref().map(c_path),
        }
    }

    fn plan_of_others(&self, path: &str) -> CgroupPlan {
        let members = self.dir("pids", path).map(|dir| c_path(&dir.join("cgroup.procs")));
        CgroupPlan { unified: None, kill: members, ..self.plan(path) }
    }

    fn view(&self, path: &str) -> View {
        let mut view = View::default();
        for tree in self.common() {
            let name = tree.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let others = tree.controllers.iter().filter(|controller| **controller != name);
            view.links.extend(others.map(|controller| (controller.clone(), name.clone())));
            view.binds.push((name, self.place(&tree.dir, path)));
        }
        // The unified tree is the host's own matter: programs take a cgroup2 mount for a machine of version 2.
        view
    }

    fn limitations(&self) -> Vec<String> {
        let missing = ["cpu", "memory", "pids", "devices", "cpuset"].into_iter().filter(|c| self.tree(c).is_none());
        missing.map(|c| format!("the cgroup controller {c} is not mounted: its limits are not enforced")).collect()
    }
}
