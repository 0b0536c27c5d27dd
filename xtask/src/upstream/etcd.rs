//! etcd: upstream's store, and Orlop's where it is told so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::plane::flags;
use crate::process::{Process, free_port};

/// What of a write must be on disk before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    Always,
    /// Nobody will miss what is lost with the machine.
    Never,
}

/// Members of one cluster, on ports of loopback that are free. Several know their clients, and each other, by TLS.
pub struct Cluster {
    clients: Vec<String>,
    peers: Vec<String>,
    dir: PathBuf,
    tls: bool,
}

/// The one that is named, or that of Kubernetes' go.mod.
pub fn program() -> Result<PathBuf> {
    std::env::var_os("ORLOP_ETCD").map_or_else(|| super::tool("etcd"), |named| Ok(named.into()))
}

/// One member, which serves clients at this port.
pub fn alone(command: Command, dir: &Path, port: u16, flush: Flush) -> Result<Process> {
    let [client, peer] = [port, free_port()?].map(|port| local("http", port));
    let member = Member { name: "default", client: &client, peer: &peer, all: &format!("default={peer}") };
    member.start(command, dir, &[], flush)
}

impl Cluster {
    /// What it writes is below `dir`.
    pub fn of(size: usize, dir: &Path) -> Result<Self> {
        let tls = size > 1;
        let scheme = if tls { "https" } else { "http" };
        let urls = || (0..size).map(|_| Ok(local(scheme, free_port()?))).collect::<Result<Vec<_>>>();
        if tls {
            certify(dir)?;
        }
        Ok(Self { clients: urls()?, peers: urls()?, dir: dir.to_owned(), tls })
    }

    /// What Orlop is started with. Nothing where there are no members.
    pub fn orlop_flags(&self) -> Vec<OsString> {
        let servers = (!self.clients.is_empty()).then(|| format!("--etcd-servers={}", self.clients.join(",")).into());
        servers.into_iter().chain(self.certificate(&["etcd-cafile", "etcd-certfile", "etcd-keyfile"])).collect()
    }

    pub fn start(&self, command: impl Fn() -> Result<Command>, flush: Flush) -> Result<Vec<Process>> {
        let names: Vec<String> = (0..self.peers.len()).map(|number| format!("etcd-{number}")).collect();
        let all: Vec<String> = names.iter().zip(&self.peers).map(|(name, peer)| format!("{name}={peer}")).collect();
        let all = all.join(",");
        let mut tls = self.certificate(&["trusted-ca-file", "cert-file", "key-file"]);
        tls.extend(self.certificate(&["peer-trusted-ca-file", "peer-cert-file", "peer-key-file"]));
        if self.tls {
            tls.extend(["--client-cert-auth", "--peer-client-cert-auth"].map(Into::into));
        }
        let members = names.iter().zip(&self.clients).zip(&self.peers);
        let start = |((name, client), peer): ((&String, &String), &String)| {
            let dir = self.dir.join(name);
            std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
            Member { name, client, peer, all: &all }.start(command()?, &dir, &tls, flush)
        };
        members.map(start).collect()
    }

    /// The flags for whom to trust, the certificate and its key.
    fn certificate(&self, flags: &[&str; 3]) -> Vec<OsString> {
        let files = self.tls.then_some(["ca.crt", "etcd.crt", "etcd.key"]).into_iter().flatten();
        let named = files.zip(flags).map(|(file, flag)| format!("--{flag}={}", self.dir.join(file).display()));
        named.map(Into::into).collect()
    }
}

/// One certificate, which everybody shows.
fn certify(dir: &Path) -> Result<()> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &ca)?;
    let files = [("ca.crt", ca.pem()), ("etcd.crt", certificate.pem()), ("etcd.key", key.serialize_pem())];
    for (name, text) in files {
        std::fs::write(dir.join(name), text).with_context(|| format!("writing {name} of etcd"))?;
    }
    Ok(())
}

struct Member<'a> {
    name: &'a str,
    client: &'a str,
    peer: &'a str,
    all: &'a str,
}

impl Member<'_> {
    fn start(&self, command: Command, dir: &Path, tls: &[OsString], flush: Flush) -> Result<Process> {
        let data = dir.join("etcd").display().to_string();
        let mut args: Vec<OsString> = flags(&[
            ("name", self.name),
            ("data-dir", &data),
            ("listen-client-urls", self.client),
            ("advertise-client-urls", self.client),
            ("listen-peer-urls", self.peer),
            ("initial-advertise-peer-urls", self.peer),
            ("initial-cluster", self.all),
            ("log-level", "warn"),
        ]);
        args.extend_from_slice(tls);
        if flush == Flush::Never {
            args.push("--unsafe-no-fsync".into());
        }
        Process::start("etcd", command, &args, dir)
    }
}

fn local(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}
