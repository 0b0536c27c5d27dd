//! Programs that judge or are judged: each ends with its owner.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than a start takes on a machine that can be used at all.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one is given to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// A program that ends with its owner; its output goes to `<name>.log`.
pub struct Process {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

impl Process {
    pub fn start(name: &'static str, mut command: Command, args: &[OsString], dir: &Path) -> Result<Self> {
        let path = dir.join(format!("{name}.log"));
        let log = File::create(&path)?;
        command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { name, log: path, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks every so often until the answer is yes; fails when the program ends first.
    pub async fn wait<F: Future<Output = bool>>(
        &mut self,
        every: Duration,
        mut ready: impl FnMut() -> F,
    ) -> Result<()> {
        let started = Instant::now();
        while !ready().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended: {status}: {}", self.name, self.log_tail());
            }
            if started.elapsed() > PATIENCE {
                bail!("{} was not ready in time: {}", self.name, self.log_tail());
            }
            tokio::time::sleep(every).await;
        }
        Ok(())
    }

    pub fn log_tail(&self) -> String {
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
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The system's choice; it could be taken until the server binds it, which then fails loudly.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
