//! A server of one's own: started as a user would, in directories and on ports of its own, and gone without a
//! trace afterwards.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use orlop_client::Client;
use orlop_client::config::{Choice, Config};
use orlop_client::https::Https;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::free_port;
use crate::terminal::note;

pub const IMAGE: &str = "bench.local/busybox:1";
const NODE: &str = "bench";
/// Longer than anything here takes on a machine that can be used at all.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// How often a starting server is asked; the error of the figures about starting.
const ASK_EVERY: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The control plane alone.
    Plane,
    /// With a node that has [`IMAGE`].
    Node,
}

pub struct Cluster {
    orlop: PathBuf,
    dir: TempDir,
    role: Role,
    /// Of the API and of the node.
    ports: [u16; 2],
    child: Child,
    pub started: Instant,
}

impl Cluster {
    pub async fn start(orlop: &Path, role: Role) -> Result<Self> {
        let dir = TempDir::with_prefix("orlop-bench-").context("making a directory for the server")?;
        if role == Role::Node {
            alone().await?;
            build_image(orlop, dir.path())?;
        }
        let ports = [free_port()?, free_port()?];
        let started = Instant::now();
        let child = spawn(orlop, dir.path(), role, ports)?;
        Ok(Self { orlop: orlop.to_owned(), dir, role, ports, child, started })
    }

    /// Stops it, and starts it over what it has stored.
    pub fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.started = Instant::now();
        self.child = spawn(&self.orlop, self.dir.path(), self.role, self.ports)?;
        Ok(())
    }

    /// A server whose API answers.
    pub async fn ready(orlop: &Path, role: Role) -> Result<Self> {
        let mut cluster = Self::start(orlop, role).await?;
        cluster.api_ready().await?;
        Ok(cluster)
    }

    /// Waits until the API answers that it is ready.
    pub async fn api_ready(&mut self) -> Result<()> {
        while self.started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}: {}", self.log_tail());
            }
            // Without retries of the client's, whose pauses would be part of the figure.
            if self.kubeconfig().exists()
                && let Ok(mut connection) = super::connection::Connection::open(&self.config()?).await
                && matches!(connection.get("/readyz").await, Ok(answer) if answer.status.is_success())
            {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        bail!("the API was not ready in time: {}", self.log_tail())
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("data/admin.kubeconfig")
    }

    pub fn config(&self) -> Result<Config> {
        Ok(Config::load(Some(&self.kubeconfig()), &Choice::default())?)
    }

    /// A client with a connection of its own.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(Https::new(&self.config()?)?, "bench"))
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }

    fn end(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > Duration::from_secs(20) {
                note("the server did not stop when asked; killing it")?;
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.end()?;
        // Reset also removes links and rules, which a server without a node never made.
        if self.role == Role::Node {
            let mut reset = Command::new(&self.orlop);
            reset.args(["reset", "--yes"]).args(directories(self.dir.path()));
            let output = reset.stdin(Stdio::null()).output()?;
            if !output.status.success() {
                bail!("orlop reset: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            let _ = note(&format!("stopping the server: {error:#}"));
        }
    }
}

fn spawn(orlop: &Path, dir: &Path, role: Role, [port, kubelet_port]: [u16; 2]) -> Result<Child> {
    let log = File::create(dir.join("log"))?;
    let mut command = Command::new(orlop);
    command.arg("server").args(directories(dir)).args(["--node-name", NODE, "--bind-address", "127.0.0.1"]);
    command.args(["--secure-port", &port.to_string(), "--kubelet-port", &kubelet_port.to_string()]);
    command.args(["--log-level", "warn"]);
    if role == Role::Plane {
        command.arg("--disable-node");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("starting {}", orlop.display()))
}

fn directories(dir: &Path) -> Vec<OsString> {
    let flags = [("--data-dir", "data"), ("--run-dir", "run"), ("--pod-logs-dir", "logs")];
    flags.into_iter().flat_map(|(flag, name)| [flag.into(), dir.join(name).into_os_string()]).collect()
}

/// One static program and nothing else: pulling and unpacking is not what is measured.
fn build_image(orlop: &Path, dir: &Path) -> Result<()> {
    let root = dir.join("image");
    std::fs::create_dir_all(root.join("bin"))?;
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).context("copying a static busybox from /bin/busybox")?;
    let mut build = Command::new(orlop);
    build.arg("image").arg("--data-dir").arg(dir.join("data")).args(["build", IMAGE]).arg(&root);
    let output = build.output()?;
    if !output.status.success() {
        bail!("orlop image build: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Two nodes would share one bridge and one table of rules: waits for the other to end.
async fn alone() -> Result<()> {
    let asked = Instant::now();
    while let Some(pid) = other_node() {
        if asked.elapsed() > PATIENCE {
            bail!("process {pid} is a node in this network namespace already: stop it first");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

fn other_node() -> Option<u32> {
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = network("self");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|pid| network(pid) == own).find_map(|pid| {
        let command = super::process::command_line(&pid);
        let [program, role, ..] = command.as_slice() else { return None };
        let is_node = program.contains("orlop") && role == "server" && !command.iter().any(|a| a == "--disable-node");
        is_node.then(|| pid.parse().ok()).flatten()
    })
}
