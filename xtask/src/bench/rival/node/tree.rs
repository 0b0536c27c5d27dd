//! What a side's processes use, counted from outside: all that its machine runs, whoever started it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::bench::process::{command_line, cpu_seconds, megabytes, pss_mb};

/// Of the times that /proc tells, on every architecture that Orlop runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process is to its side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds a pod's containers.
    Shim,
    /// Serves the node and lives as long: kubelet and containerd, or Orlop's one process.
    Node,
    /// All else: the rest of the control plane, and the pods' own.
    Other,
}

/// Those that live at one moment.
pub struct Tree(Vec<(u32, Role)>);

impl Tree {
    /// These processes and all that descend from them.
    pub fn below(roots: &[u32]) -> Self {
        let mut children = BTreeMap::<u32, Vec<u32>>::new();
        for (pid, stat) in std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, Stat::of(pid)?))
        }) {
            children.entry(stat.parent).or_default().push(pid);
        }
        let mut found = roots.to_vec();
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            found.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        Self(found.into_iter().map(|pid| (pid, role(pid))).collect())
    }

    pub fn count(&self, role: Role) -> usize {
        self.0.iter().filter(|(_, r)| *r == role).count()
    }

    /// Also of processes that have ended: who waited for one has its time. They may be as short as one moment, so
    /// that ticks are all that is known of them; of those that live, nanoseconds are.
    pub fn cpu_seconds(&self) -> f64 {
        let ended = |pid| Stat::of(pid).map_or(0.0, |stat| stat.ticks_of_ended / TICKS_PER_SECOND);
        self.0.iter().map(|(pid, _)| cpu_seconds(*pid).unwrap_or_default() + ended(*pid)).sum()
    }

    /// What is shared is counted once, in parts.
    pub fn pss_mb(&self) -> f64 {
        self.0.iter().filter_map(|(pid, _)| pss_mb(*pid).ok()).sum()
    }

    pub fn pss_mb_of(&self, role: Role) -> Result<f64> {
        self.0.iter().filter(|(_, r)| *r == role).map(|(pid, _)| pss_mb(*pid)).sum()
    }

    pub fn rss_mb_of(&self, role: Role) -> Result<f64> {
        let of_role = self.0.iter().filter(|(_, r)| *r == role);
        of_role.map(|(pid, _)| megabytes(&format!("/proc/{pid}/status"), "VmRSS:")).sum()
    }
}

fn role(pid: u32) -> Role {
    let arguments = command_line(&pid.to_string());
    let program = arguments.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
    match (program.to_str().unwrap_or_default(), arguments.get(1).map(String::as_str)) {
        ("containerd-shim-runc-v2", _) | (_, Some("shim")) => Role::Shim,
        ("kubelet" | "containerd", _) | (_, Some("server")) => Role::Node,
        _ => Role::Other,
    }
}

/// Of /proc/PID/stat.
struct Stat {
    parent: u32,
    ticks_of_ended: f64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// A program's name may hold anything, a parenthesis too.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks_of_ended: ticks(13)? + ticks(14)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_and_the_time_of_ended_children_stand_behind_the_name() {
        let stat = Stat::parse("12 (a) b) S 7 12 12 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0 9 9 9").unwrap();
        assert_eq!((stat.parent, stat.ticks_of_ended), (7, 150.0));
    }
}
