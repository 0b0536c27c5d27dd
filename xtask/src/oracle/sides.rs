//! The two servers: each started as a user would start it, in directories and on ports of its own, and gone
//! without a trace afterwards. Upstream runs on Orlop's keys and certificates, so that one administrator is known
//! to both.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use orlop_client::config::{Choice, Config};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::exchange::{Ask, Side};

/// An address of documentation's range (RFC 5737): both advertise it, nobody dials it.
const NODE_IP: &str = "192.0.2.1";
const SERVICE_CIDR: &str = "10.96.0.0/12";
/// Longer than a start takes on a machine that can be used at all.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Programs to run.
pub struct Programs {
    pub orlop: PathBuf,
    pub kube_apiserver: PathBuf,
    pub etcd: PathBuf,
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
        let mut processes = vec![orlop(&programs.orlop, dir.path(), orlop_port)?];
        let etcd_port = free_port()?;
        let etcd = etcd(&programs.etcd, dir.path(), etcd_port)?;
        let kubeconfig = dir.path().join("data/admin.kubeconfig");
        wait(&mut processes[0], || async { kubeconfig.exists() }).await?;
        let config = Config::load(Some(&kubeconfig), &Choice::default())?;
        processes.insert(0, kube_apiserver(&programs.kube_apiserver, dir.path(), upstream_port, etcd_port)?);
        processes.push(etcd);
        let upstream = Config { server: format!("https://127.0.0.1:{upstream_port}"), ..config.clone() };
        let upstream = Side::new("upstream", &upstream, upstream_port)?;
        let orlop = Side::new("orlop", &config, orlop_port)?;
        wait(&mut processes[1], || ready(&orlop)).await?;
        wait(&mut processes[0], || ready(&upstream)).await?;
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
    matches!(side.send(&Ask::get("/readyz")).await, Ok(answer) if answer.status == 200)
}

async fn wait<F: Future<Output = bool>>(process: &mut Process, mut ready: impl FnMut() -> F) -> Result<()> {
    let started = Instant::now();
    while !ready().await {
        if let Some(status) = process.child.try_wait()? {
            bail!("{} ended: {status}: {}", process.name, process.log_tail());
        }
        if started.elapsed() > PATIENCE {
            bail!("{} was not ready in time: {}", process.name, process.log_tail());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

fn orlop(program: &Path, dir: &Path, port: u16) -> Result<Process> {
    let mut args: Vec<OsString> = vec!["server".into()];
    for (flag, name) in [("--data-dir", "data"), ("--run-dir", "run"), ("--pod-logs-dir", "logs")] {
        args.extend([flag.into(), dir.join(name).into_os_string()]);
    }
    args.extend(["--disable-node", "--disable-controllers", "--disable-scheduler"].map(Into::into));
    args.extend(["--bind-address=127.0.0.1", "--node-name=oracle", "--log-level=warn"].map(Into::into));
    args.extend([format!("--secure-port={port}"), format!("--service-cidr={SERVICE_CIDR}")].map(Into::into));
    args.push(format!("--node-ip={NODE_IP}").into());
    Process::start("orlop", program, &args, dir)
}

fn etcd(program: &Path, dir: &Path, port: u16) -> Result<Process> {
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let client = format!("http://127.0.0.1:{port}");
    let mut args: Vec<OsString> = vec!["--data-dir".into(), dir.join("etcd").into_os_string()];
    args.extend(
        [format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")].map(Into::into),
    );
    args.extend(
        [
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ]
        .map(Into::into),
    );
    // Nobody will miss what is lost with the machine.
    args.extend(["--unsafe-no-fsync", "--log-level=warn"].map(Into::into));
    Process::start("etcd", program, &args, dir)
}

fn kube_apiserver(program: &Path, dir: &Path, port: u16, etcd_port: u16) -> Result<Process> {
    let key = |name: &str| dir.join("data/pki").join(name);
    let mut args: Vec<OsString> = Vec::new();
    for (flag, file) in [
        ("client-ca-file", "ca.crt"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
        ("kubelet-client-key", "apiserver-kubelet-client.key"),
        ("requestheader-client-ca-file", "front-proxy-ca.crt"),
        ("proxy-client-cert-file", "front-proxy-client.crt"),
        ("proxy-client-key-file", "front-proxy-client.key"),
        ("service-account-key-file", "sa.pub"),
        ("service-account-signing-key-file", "sa.key"),
    ] {
        args.push(format!("--{flag}={}", key(file).display()).into());
    }
    // What the usual installer (kubeadm) sets; all else is upstream's default.
    for (flag, value) in [
        ("bind-address", "127.0.0.1"),
        ("advertise-address", NODE_IP),
        ("secure-port", &port.to_string()),
        ("etcd-servers", &format!("http://127.0.0.1:{etcd_port}")),
        ("service-cluster-ip-range", SERVICE_CIDR),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("allow-privileged", "true"),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-username-headers", "X-Remote-User"),
    ] {
        args.push(format!("--{flag}={value}").into());
    }
    Process::start("kube-apiserver", program, &args, dir)
}

/// A program that ends with its owner; its output goes to `<name>.log`.
struct Process {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

impl Process {
    fn start(name: &'static str, program: &Path, args: &[OsString], dir: &Path) -> Result<Self> {
        let path = dir.join(format!("{name}.log"));
        let log = File::create(&path)?;
        let mut command = Command::new(program);
        command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name, log: path, child })
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first: a killed server could leave a child or a socket.
        if kill_process(Pid::from_child(&self.child), Signal::TERM).is_ok() {
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The system's choice; it could be taken until the server binds it, which then fails loudly.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
