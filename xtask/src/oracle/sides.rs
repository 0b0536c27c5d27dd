//! The two servers: each started as a user would start it, in directories and on ports of its own, and gone
//! without a trace afterwards. Upstream runs on Orlop's keys and certificates, so that one administrator is known
//! to both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use orlop_client::config::{Choice, Config};
use tempfile::TempDir;

use super::exchange::{Ask, Side};
use crate::process::{Process, free_port};
use crate::upstream::etcd::{self, Flush};
use crate::upstream::plane::{self, NODE_IP, SERVICE_CIDR};

/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Programs to run.
pub struct Programs {
    pub orlop: PathBuf,
    pub kube_apiserver: PathBuf,
    pub etcd: PathBuf,
    /// How many members of it Orlop keeps its objects in, instead of a log.
    pub members: usize,
}

pub struct Sides {
    pub upstream: Side,
    pub orlop: Side,
    // Dropped in this order: the API server before its store.
    _processes: Vec<Process>,
    dir: Option<TempDir>,
}

impl Sides {
    pub async fn start(programs: &Programs) -> Result<Self> {
        let dir = TempDir::with_prefix("orlop-oracle-").context("making a directory for the servers")?;
        let (orlop_port, upstream_port) = (free_port()?, free_port()?);
        let own = etcd::Cluster::of(programs.members, dir.path())?;
        let members = own.start(|| Ok(Command::new(&programs.etcd)), Flush::Never)?;
        let mut processes = vec![orlop(&programs.orlop, dir.path(), orlop_port, own.orlop_flags())?];
        let etcd_port = free_port()?;
        let etcd = etcd::alone(Command::new(&programs.etcd), dir.path(), etcd_port, Flush::Never)?;
        let kubeconfig = dir.path().join("data/admin.kubeconfig");
        processes[0].wait(ASK_EVERY, || async { kubeconfig.exists() }).await?;
        let config = Config::load(Some(&kubeconfig), &Choice::default())?;
        let (pki, ports) = (dir.path().join("data/pki"), (upstream_port, etcd_port));
        let kube_apiserver = Command::new(&programs.kube_apiserver);
        processes.insert(0, plane::kube_apiserver(kube_apiserver, dir.path(), &pki, ports, &[])?);
        processes.push(etcd);
        processes.extend(members);
        let upstream = Config { server: format!("https://127.0.0.1:{upstream_port}"), ..config.clone() };
        let upstream = Side::new("upstream", &upstream, upstream_port)?;
        let orlop = Side::new("orlop", &config, orlop_port)?;
        processes[1].wait(ASK_EVERY, || settled(&orlop)).await?;
        processes[0].wait(ASK_EVERY, || settled(&upstream)).await?;
        Ok(Self { upstream, orlop, _processes: processes, dir: Some(dir) })
    }

    /// Fails when a server has ended.
    pub async fn still_there(&self) -> Result<()> {
        for side in [&self.upstream, &self.orlop] {
            if !ready(side).await {
                bail!("{} answers no more", side.name);
            }
        }
        Ok(())
    }

    /// Leaves logs and data where they are; the path.
    pub fn keep(&mut self) -> Option<PathBuf> {
        self.dir.take().map(TempDir::keep)
    }
}

async fn ready(side: &Side) -> bool {
    exists(side, "/readyz").await
}

/// Ready, and done with what it does of itself: upstream writes where it is reached a moment later.
async fn settled(side: &Side) -> bool {
    for path in [
        "/readyz",
        "/api/v1/namespaces/default/endpoints/kubernetes",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
    ] {
        if !exists(side, path).await {
            return false;
        }
    }
    true
}

async fn exists(side: &Side, path: &str) -> bool {
    matches!(side.send(&Ask::get(path)).await, Ok(answer) if answer.status == 200)
}

/// `etcd`: flags for where its objects are kept; in a log when nowhere.
fn orlop(program: &Path, dir: &Path, port: u16, etcd: Vec<OsString>) -> Result<Process> {
    let mut args: Vec<OsString> = vec!["server".into()];
    for (flag, name) in [("--data-dir", "data"), ("--run-dir", "run"), ("--pod-logs-dir", "logs")] {
        args.extend([flag.into(), dir.join(name).into_os_string()]);
    }
    args.extend(["--disable-node", "--disable-controllers", "--disable-scheduler"].map(Into::into));
    args.extend(["--bind-address=127.0.0.1", "--node-name=oracle", "--log-level=warn"].map(Into::into));
    args.extend([format!("--secure-port={port}"), format!("--service-cidr={SERVICE_CIDR}")].map(Into::into));
    args.push(format!("--node-ip={NODE_IP}").into());
    args.extend(etcd);
    Process::start("orlop", Command::new(program), &args, dir)
}
