//! The two control planes: each started as a user would start it, on loopback, in a directory and on ports of its
//! own, and gone without a trace afterwards. Upstream runs on keys and certificates that Orlop made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use orlop_base::disk_usage::disk_usage;
use orlop_client::config::{Choice, Config};
use tempfile::TempDir;

use crate::bench::connection::{Connection, Protocol};
use crate::bench::process::{cpu_seconds, megabytes};
use crate::process::{Process, free_port};
use crate::upstream::etcd::{self, Flush};
use crate::upstream::plane::{self, NODE_IP, SERVICE_CIDR};
use crate::upstream::tool;

/// How often a starting server is asked; the error of the figures about starting.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The administrator's kubeconfig of upstream's control plane, in its directory.
pub const ADMIN: &str = "admin.kubeconfig";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Orlop,
    Upstream,
}

pub const BOTH: [Who; 2] = [Who::Orlop, Who::Upstream];

/// What of the control plane runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The API alone.
    Api,
    /// The API alone, which writes an audit log.
    Audited,
    /// With a scheduler.
    Scheduling,
    /// With a scheduler and controllers.
    Whole,
}

impl Parts {
    fn scheduler(self) -> bool {
        matches!(self, Self::Scheduling | Self::Whole)
    }

    fn controllers(self) -> bool {
        self == Self::Whole
    }

    /// Flags that both sides have under the same names: who did what, of every request.
    fn audit(self, dir: &Path) -> Result<Vec<(&'static str, String)>> {
        if self != Self::Audited {
            return Ok(Vec::new());
        }
        let policy = dir.join("audit.yaml");
        std::fs::write(&policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n")
            .with_context(|| format!("writing {}", policy.display()))?;
        let path = |path: PathBuf| path.display().to_string();
        Ok(vec![("audit-policy-file", path(policy)), ("audit-log-path", path(dir.join("audit.log")))])
    }
}

/// Programs to start, and what they share.
pub struct Contenders {
    orlop: PathBuf,
    /// Keys, certificates and an administrator, as `orlop server` makes them.
    keys: TempDir,
}

impl Contenders {
    pub async fn new(orlop: &Path) -> Result<Self> {
        let keys = TempDir::with_prefix("orlop-rival-").context("making a directory for keys")?;
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            tool(name)?;
        }
        let contenders = Self { orlop: orlop.to_owned(), keys };
        let mut processes = Vec::new();
        contenders.start_orlop(contenders.keys.path(), Parts::Api, &mut processes).await?;
        Ok(contenders)
    }

    pub async fn start(&self, who: Who, parts: Parts) -> Result<Side> {
        let dir = TempDir::with_prefix("orlop-rival-").context("making a directory for a server")?;
        let (started, mut processes) = (Instant::now(), Vec::new());
        let config = match who {
            Who::Orlop => self.start_orlop(dir.path(), parts, &mut processes).await?,
            Who::Upstream => self.start_upstream(dir.path(), parts, &mut processes).await?,
        };
        let ready_seconds = started.elapsed().as_secs_f64();
        Ok(Side { who, config, started, ready_seconds, processes, dir })
    }

    pub async fn both(&self, parts: Parts) -> Result<[Side; 2]> {
        Ok([self.start(Who::Orlop, parts).await?, self.start(Who::Upstream, parts).await?])
    }

    async fn start_orlop(&self, dir: &Path, parts: Parts, processes: &mut Vec<Process>) -> Result<Config> {
        let mut args: Vec<OsString> = vec!["server".into()];
        for (flag, name) in [("--data-dir", "data"), ("--run-dir", "run"), ("--pod-logs-dir", "logs")] {
            args.extend([flag.into(), dir.join(name).into_os_string()]);
        }
        args.extend(
            ["--disable-node", "--bind-address=127.0.0.1", "--node-name=rival", "--log-level=warn"].map(Into::into),
        );
        args.extend(
            [format!("--secure-port={}", free_port()?), format!("--service-cidr={SERVICE_CIDR}")].map(Into::into),
        );
        args.push(format!("--node-ip={NODE_IP}").into());
        args.extend(parts.audit(dir)?.into_iter().map(|(flag, value)| format!("--{flag}={value}").into()));
        if !parts.controllers() {
            args.push("--disable-controllers".into());
        }
        if !parts.scheduler() {
            args.push("--disable-scheduler".into());
        }
        processes.push(Process::start("orlop", Command::new(&self.orlop), &args, dir)?);
        let kubeconfig = kubeconfig(dir);
        processes[0].wait(ASK_EVERY, || async { kubeconfig.exists() }).await?;
        let config = Config::load(Some(&kubeconfig), &Choice::default())?;
        processes[0].wait(ASK_EVERY, || ready(&config)).await?;
        Ok(config)
    }

    async fn start_upstream(&self, dir: &Path, parts: Parts, processes: &mut Vec<Process>) -> Result<Config> {
        self.upstream(dir, parts, |program| Ok(Command::new(program)), async |config| ready(&config).await, processes)
            .await
    }

    /// Upstream's control plane where `command` runs programs and `ready` asks of the API.
    pub async fn upstream(
        &self,
        dir: &Path,
        parts: Parts,
        command: impl Fn(PathBuf) -> Result<Command>,
        ready: impl AsyncFn(Config) -> bool,
        processes: &mut Vec<Process>,
    ) -> Result<Config> {
        let (port, etcd_port) = (free_port()?, free_port()?);
        let keys = Config::load(Some(&kubeconfig(self.keys.path())), &Choice::default())?;
        let config = Config { server: format!("https://127.0.0.1:{port}"), ..keys.clone() };
        let (run, pki) = (|name: &str| command(tool(name)?), self.pki());
        processes.push(etcd::alone(run("etcd")?, dir, etcd_port, Flush::Always)?);
        let audit = parts.audit(dir)?;
        let audit: Vec<_> = audit.iter().map(|(flag, value)| (*flag, value.as_str())).collect();
        processes.push(plane::kube_apiserver(run("kube-apiserver")?, dir, &pki, (port, etcd_port), &audit)?);
        processes[1].wait(ASK_EVERY, || ready(config.clone())).await?;
        if parts.scheduler() {
            let text = std::fs::read_to_string(kubeconfig(self.keys.path()))?.replace(&keys.server, &config.server);
            let kubeconfig = dir.join(ADMIN);
            std::fs::write(&kubeconfig, text)?;
            processes.push(plane::kube_scheduler(run("kube-scheduler")?, dir, &kubeconfig)?);
            if parts.controllers() {
                processes.push(plane::kube_controller_manager(
                    run("kube-controller-manager")?,
                    dir,
                    &pki,
                    &kubeconfig,
                )?);
            }
        }
        Ok(config)
    }

    pub fn orlop(&self) -> &Path {
        &self.orlop
    }

    pub fn pki(&self) -> PathBuf {
        self.keys.path().join("data/pki")
    }
}

/// One that runs.
pub struct Side {
    pub who: Who,
    pub config: Config,
    pub started: Instant,
    /// From exec until the API was ready.
    pub ready_seconds: f64,
    // Dropped before the directory they use.
    processes: Vec<Process>,
    dir: TempDir,
}

impl Side {
    /// Each has been answered once: the server looks at a client's certificate after the client's part of the
    /// handshake, and the first request would wait for all of those.
    pub async fn clients(&self, count: usize) -> Result<Vec<Connection>> {
        let mut clients = Connection::several(&self.config, Protocol::Http1, count).await?;
        try_join_all(clients.iter_mut().map(|client| client.get("/version"))).await?;
        Ok(clients)
    }

    pub async fn client(&self) -> Result<Connection> {
        Connection::open(&self.config).await
    }

    /// Of all its processes.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.processes.iter().map(|process| cpu_seconds(process.pid())).sum()
    }

    /// Of all its processes.
    pub fn rss_mb(&self) -> Result<f64> {
        self.processes.iter().map(|process| megabytes(&format!("/proc/{}/status", process.pid()), "VmRSS:")).sum()
    }

    /// What its state takes on disk.
    pub fn disk_mb(&self) -> Result<f64> {
        let state = match self.who {
            Who::Orlop => "data",
            Who::Upstream => "etcd",
        };
        Ok(disk_usage(&self.dir.path().join(state))?.bytes as f64 / 1e6)
    }
}

fn kubeconfig(dir: &Path) -> PathBuf {
    dir.join("data/admin.kubeconfig")
}

pub async fn ready(config: &Config) -> bool {
    let Ok(mut connection) = Connection::open(config).await else { return false };
    matches!(connection.get("/readyz").await, Ok(answer) if answer.status.is_success())
}
