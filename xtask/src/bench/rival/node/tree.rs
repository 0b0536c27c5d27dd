//! What a side's processes use, counted from outside: all that its machine runs, whoever started it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::cpu::{Cpu, Spent};
use crate::bench::process::{command_line, megabytes, pss_mb};

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
        for (pid, parent) in std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parent(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
        }) {
            children.entry(parent).or_default().push(pid);
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

    pub fn cpu(&self) -> Cpu {
        self.0.iter().filter_map(|(pid, _)| Some((*pid, Spent::of(*pid)?))).collect()
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

/// The parent of a process. A program's name may hold anything, a parenthesis too.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
