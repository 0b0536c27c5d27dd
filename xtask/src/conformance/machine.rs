//! A machine for Orlop alone: namespaces of its own, so that runs do not meet each other or a cluster of the
//! host's. One node for now; a second is a second `Machine` whose cable is plugged into the first's.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::note;
use crate::upstream;

/// As the machine itself sees it.
pub const KUBECONFIG: &str = "/var/lib/orlop/admin.kubeconfig";
/// Where Orlop's control groups are, below each hierarchy's root.
const CGROUPS: &str = "/sys/fs/cgroup";
const PATIENCE: Duration = Duration::from_secs(120);
const END_SECONDS: i64 = 10;
const ASK_EVERY: Duration = Duration::from_millis(100);

pub struct Machine {
    name: String,
    orlop: PathBuf,
    /// `unshare`, whose child is process 1 of the namespaces and dies with it.
    holder: Child,
    /// That child, once it is known to run.
    first: Option<OwnedFd>,
    dir: TempDir,
}

impl Machine {
    /// Starts Orlop and waits until its node is ready; its log goes to `log`.
    pub fn start(orlop: &Path, number: u8, log: &Path) -> Result<Self> {
        let dir = TempDir::with_prefix("orlop-conformance-").context("making a directory for the node")?;
        // Control groups are the one thing that namespaces share: the name must be nobody else's.
        let name = format!("conformance-{}-{number}", std::process::id());
        let log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        // What is killed without being asked to end, as we may be, must take its child along.
        let mut unshare = Command::new("setpriv");
        unshare.args(["--pdeathsig", "KILL", "--", "unshare"]);
        unshare.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"]);
        unshare
            .arg(upstream::directory().join("node.sh"))
            .arg(orlop)
            .args([&name, &number.to_string()])
            .arg(dir.path());
        let holder = unshare.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let holder = holder.context("running setpriv and unshare, of util-linux")?;
        end_when_asked(&holder)?;
        let mut machine = Self { name, orlop: orlop.to_owned(), holder, first: None, dir };
        machine.wait_until_ready()?;
        machine.first = Some(watch(machine.first_process()?)?);
        Ok(machine)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let (began, kubectl) = (Instant::now(), upstream::tool("kubectl")?);
        let asked = ["--kubeconfig", KUBECONFIG, "wait", "--for=condition=Ready", "--timeout=10s"];
        loop {
            if let Some(status) = self.holder.try_wait()? {
                bail!("the node ended: {status}");
            }
            if let Ok(mut ask) = self.command(&kubectl)
                && ask.args(asked).arg(format!("node/{}", self.name)).output()?.status.success()
            {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("the node was not ready in time");
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// A program run on this machine, with a home of its own: kubectl keeps there what it learned of a cluster.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut enter = Command::new("nsenter");
        enter.arg("--target").arg(self.first_process()?.to_string());
        enter.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"]).arg(program);
        enter.env("HOME", self.dir.path().join("home")).env_remove("KUBECONFIG").stdin(Stdio::null());
        Ok(enter)
    }

    pub fn import(&self, archive: &Path) -> Result<()> {
        let output = self.command(&self.orlop)?.args(["image", "import"]).arg(archive).output()?;
        if !output.status.success() {
            bail!("importing {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The one child of `unshare`.
    fn first_process(&self) -> Result<i32> {
        let holder = self.holder.id();
        let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"))?;
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).context("the node is gone")
    }

    fn end(&mut self) -> Result<()> {
        self.holder.kill()?;
        self.holder.wait()?;
        if let Some(first) = &self.first {
            // It ends when all that runs there has, and no control group is in use any more.
            let patience = Timespec { tv_sec: END_SECONDS, tv_nsec: 0 };
            poll(&mut [PollFd::new(first, PollFlags::IN)], Some(&patience))?;
        }
        for hierarchy in std::fs::read_dir(CGROUPS)?.flatten().map(|entry| entry.path()).chain([CGROUPS.into()]) {
            let ours = hierarchy.join("orlop").join(&self.name);
            if ours.is_dir() {
                remove_groups(&ours)?;
                // The kernel keeps it where another node's stand beside.
                let _ = std::fs::remove_dir(hierarchy.join("orlop"));
            }
        }
        Ok(())
    }
}

/// A process that stays the same whatever becomes of its number.
fn watch(pid: i32) -> Result<OwnedFd> {
    let pid = Pid::from_raw(pid).context("no process has the number 0")?;
    pidfd_open(pid, PidfdFlags::empty()).context("watching the node")
}

/// The first wish that we end ends the machine instead, and with it the suite; we end ourselves by cleaning up.
fn end_when_asked(holder: &Child) -> Result<()> {
    let holder = watch(holder.id().cast_signed())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let [mut interrupt, mut terminate] = {
        let _entered = runtime.enter();
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        });
        let _ = note("interrupted: ending the node");
        // It may have ended already.
        let _ = pidfd_send_signal(&holder, Signal::KILL);
    });
    Ok(())
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            let _ = note(&format!("ending {}: {error:#}", self.name));
        }
    }
}

/// A control group and those below it, which the kernel removes one by one.
fn remove_groups(group: &Path) -> Result<()> {
    for entry in std::fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path())?;
    }
    std::fs::remove_dir(group).with_context(|| format!("removing {}", group.display()))
}
