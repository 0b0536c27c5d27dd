//! Version 2: one tree. Limits work where the parent has given the controller away, and processes stand
//! only in leaves.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::devices::{self, DeviceRule};
use super::{Hierarchy, View, convert, files, tree};
use crate::plan::CgroupPlan;
use crate::sys::{bpf, c_path};
use crate::{Resources, Stats};

const WANTED: [&str; 5] = ["cpu", "memory", "pids", "cpuset", "hugetlb"];

pub struct Version2 {
    mount: PathBuf,
    root: String,
    available: String,
}

/// Where the version 2 tree is mounted.
pub fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next() == Some("cgroup2")).then_some(())?;
        Some(PathBuf::from(left.split(' ').nth(4)?))
    })
}

/// Gives `controllers` away from the mount down to the parent of `path`.
pub fn enable(mount: &Path, path: &Path, controllers: &[&str]) -> io::Result<()> {
    let mut dir = mount.to_owned();
    for part in path.components() {
        let enabled = files::read(&dir, "cgroup.subtree_control")?;
        let missing = controllers.iter().filter(|c| !enabled.split_whitespace().any(|e| e == **c));
        for controller in missing {
            files::write(&dir, "cgroup.subtree_control", &format!("+{controller}"))?;
        }
        dir.push(part);
        files::make_dir(&dir)?;
    }
    Ok(())
}

impl Version2 {
    pub fn new(mount: PathBuf, root: String) -> io::Result<Self> {
        let available = files::read(&mount, "cgroup.controllers")?;
        Ok(Self { mount, root, available })
    }

    fn place(&self, path: &str) -> PathBuf {
        self.mount.join(&self.root).join(path.trim_matches('/'))
    }

    fn has(&self, controller: &str) -> bool {
        self.available.split_whitespace().any(|c| c == controller)
    }

    fn set_cpu(&self, dir: &Path, resources: &Resources, fresh: bool) -> io::Result<()> {
        if !self.has("cpu") {
            return Ok(());
        }
        if let Some(shares) = resources.cpu_shares {
            files::write(dir, "cpu.weight", &convert::weight_of_shares(shares).to_string())?;
        }
        let quota = resources.cpu_quota_us.filter(|quota| *quota > 0);
        if fresh && quota.is_none() {
            return Ok(());
        }
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        files::write(dir, "cpu.max", &format!("{quota} {}", resources.cpu_period_us.unwrap_or(PERIOD_US)))
    }

    fn set_memory(&self, dir: &Path, resources: &Resources, fresh: bool) -> io::Result<()> {
        let limit = resources.memory_limit_bytes.filter(|limit| *limit > 0);
        if !self.has("memory") || (fresh && limit.is_none()) {
            return Ok(());
        }
        let (limit, swap) = limit.map_or_else(|| ("max".to_owned(), "max"), |limit| (limit.to_string(), "0"));
        files::write(dir, "memory.max", &limit)?;
        files::write_if_exists(dir, "memory.swap.max", swap)
    }
}

/// The kernel's default.
const PERIOD_US: u64 = 100_000;

impl Hierarchy for Version2 {
    fn create(&self, path: &str) -> io::Result<bool> {
        let dir = self.place(path);
        if dir.exists() {
            return Ok(false);
        }
        let wanted: Vec<&str> = WANTED.into_iter().filter(|c| self.has(c)).collect();
        enable(&self.mount, &Path::new(&self.root).join(path.trim_matches('/')), &wanted)?;
        Ok(true)
    }

    fn apply(&self, path: &str, resources: &Resources, fresh: bool) -> io::Result<()> {
        let dir = self.place(path);
        self.set_cpu(&dir, resources, fresh)?;
        self.set_memory(&dir, resources, fresh)?;
        if let Some(limit) = resources.pids_limit.filter(|_| self.has("pids")) {
            let limit = if limit > 0 { limit.to_string() } else { "max".into() };
            files::write(&dir, "pids.max", &limit)?;
        }
        if let Some(cpus) = resources.cpuset_cpus.as_deref().filter(|cpus| !cpus.is_empty() && self.has("cpuset")) {
            files::write(&dir, "cpuset.cpus", cpus)?;
        }
        for (size, limit) in &resources.hugepages {
            if let Some(size) = convert::hugepage_file_size(size).filter(|_| self.has("hugetlb")) {
                files::write(&dir, &format!("hugetlb.{size}.max"), &limit.to_string())?;
            }
        }
        Ok(())
    }

    fn seal(&self, path: &str, devices: &[DeviceRule]) -> io::Result<()> {
        let dir = self.place(path);
        // A container whose memory is short dies whole, as the kubelet has it by default (KEP-4205 and
        // `singleProcessOOMKill`).
        if self.has("memory") {
            files::write_if_exists(&dir, "memory.oom.group", "1")?;
        }
        let cgroup = std::fs::File::open(&dir)?;
        bpf::attach_device_program(cgroup.as_fd(), &devices::program(devices))
    }

    fn stats(&self, path: &str) -> io::Result<Stats> {
        let dir = self.place(path);
        let mut stats = Stats { unix_nanos: orlop_base::clock::unix_nanos(), ..Stats::default() };
        stats.cpu_usage_nanos = files::field(&files::read(&dir, "cpu.stat")?, "usage_usec") * 1000;
        if self.has("memory") {
            let text = files::read(&dir, "memory.stat")?;
            stats.memory_usage_bytes = files::number(&dir, "memory.current")?;
            let inactive = files::field(&text, "inactive_file");
            stats.memory_working_set_bytes = stats.memory_usage_bytes.saturating_sub(inactive);
            stats.memory_rss_bytes = files::field(&text, "anon");
        }
        if self.has("pids") {
            stats.pids = files::number(&dir, "pids.current")?;
        }
        Ok(stats)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        tree::remove(&[self.place(path)])
    }

    fn remove_root(&self) -> io::Result<()> {
        self.remove("")?;
        tree::prune(&self.mount, &self.root);
        Ok(())
    }

    fn plan(&self, path: &str) -> CgroupPlan {
        let dir = self.place(path);
        CgroupPlan {
            tasks: Vec::new(),
            unified: Some(c_path(&dir)),
            oom: self.has("memory").then(|| c_path(&dir.join("memory.events"))),
            kill: Some(c_path(&dir.join("cgroup.kill"))),
        }
    }

    fn view(&self, path: &str) -> View {
        View { binds: vec![(String::new(), self.place(path))], links: Vec::new() }
    }

    fn limitations(&self) -> Vec<String> {
        let missing = ["cpu", "memory", "pids", "cpuset"].into_iter().filter(|c| !self.has(c));
        missing.map(|c| format!("the cgroup controller {c} is not available: its limits are not enforced")).collect()
    }
}
