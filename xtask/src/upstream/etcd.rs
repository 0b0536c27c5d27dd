//! etcd: upstream's store, and Orlop's where it is told so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::plane::flags;
use crate::process::{Process, free_port};

/// What of a write must be on disk before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    Always,
    /// Nobody will miss what is lost with the machine.
    Never,
}

/// Members of one cluster, on ports of loopback that are free.
pub struct Cluster {
    clients: Vec<String>,
    peers: Vec<String>,
}

/// The one that is named, or that of Kubernetes' go.mod.
pub fn program() -> Result<PathBuf> {
    std::env::var_os("ORLOP_ETCD").map_or_else(|| super::tool("etcd"), |named| Ok(named.into()))
}

/// One member, which serves clients at this port.
pub fn alone(command: Command, dir: &Path, port: u16, flush: Flush) -> Result<Process> {
    let peer = local(free_port()?);
    member(
        command,
        dir,
        &Member { name: "default", client: &local(port), peer: &peer, all: &format!("default={peer}") },
        flush,
    )
}

impl Cluster {
    pub fn of(size: usize) -> Result<Self> {
        let urls = || (0..size).map(|_| free_port().map(local)).collect::<Result<Vec<_>>>();
        Ok(Self { clients: urls()?, peers: urls()? })
    }

    /// As `--etcd-servers` takes them.
    pub fn servers(&self) -> String {
        self.clients.join(",")
    }

    /// Each member has a directory below `dir`.
    pub fn start(&self, command: impl Fn() -> Result<Command>, dir: &Path, flush: Flush) -> Result<Vec<Process>> {
        let names: Vec<String> = (0..self.peers.len()).map(|number| format!("etcd-{number}")).collect();
        let all: Vec<String> = names.iter().zip(&self.peers).map(|(name, peer)| format!("{name}={peer}")).collect();
        let all = all.join(",");
        let members = names.iter().zip(&self.clients).zip(&self.peers);
        let start = |((name, client), peer): ((&String, &String), &String)| {
            let dir = dir.join(name);
            std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
            member(command()?, &dir, &Member { name, client, peer, all: &all }, flush)
        };
        members.map(start).collect()
    }
}

struct Member<'a> {
    name: &'a str,
    client: &'a str,
    peer: &'a str,
    all: &'a str,
}

fn member(command: Command, dir: &Path, member: &Member<'_>, flush: Flush) -> Result<Process> {
    let data = dir.join("etcd").display().to_string();
    let mut args: Vec<OsString> = flags(&[
        ("name", member.name),
        ("data-dir", &data),
        ("listen-client-urls", member.client),
        ("advertise-client-urls", member.client),
        ("listen-peer-urls", member.peer),
        ("initial-advertise-peer-urls", member.peer),
        ("initial-cluster", member.all),
        ("log-level", "warn"),
    ]);
    if flush == Flush::Never {
        args.push("--unsafe-no-fsync".into());
    }
    Process::start("etcd", command, &args, dir)
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
