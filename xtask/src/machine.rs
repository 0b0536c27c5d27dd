//! A machine of its own for a node, as far as the kernel is asked: namespaces, so that nodes do not meet each other or
//! a cluster of the host's. One for now; a second is a second `Machine` whose cable is plugged into the first's.

mod groups;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use crate::terminal::note;
use crate::upstream;
use crate::wish::Wish;

/// The administrator's, of an Orlop that runs there, as the machine itself sees it.
pub const KUBECONFIG: &str = "/var/lib/orlop/admin.kubeconfig";
const PATIENCE: Duration = Duration::from_secs(20);
const END_SECONDS: i64 = 10;
const ASK_EVERY: Duration = Duration::from_millis(5);

pub struct Machine {
    name: String,
    /// `unshare`, whose child is process 1 of the namespaces and dies with it.
    holder: Child,
    /// That child.
    first: u32,
    /// The same, whatever becomes of its number.
    first_fd: OwnedFd,
    dir: TempDir,
}

impl Machine {
    /// Runs a program there, which is given the machine's name; what it says goes to `log`.
    pub fn start(purpose: &str, number: u8, log: &Path, main: impl FnOnce(&str) -> Vec<OsString>) -> Result<Self> {
        let dir = TempDir::with_prefix(format!("orlop-{purpose}-")).context("making a directory for the node")?;
        // Control groups are the one thing that namespaces share: the name must be nobody else's.
        let name = format!("{purpose}-{}-{number}", std::process::id());
        let log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        // What is killed without being asked to end, as we may be, must take its child along.
        let mut unshare = Command::new("setpriv");
        unshare.args(["--pdeathsig", "KILL", "--", "unshare"]);
        unshare.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"]);
        unshare.arg(upstream::directory().join("node.sh")).args([&name, &number.to_string()]).arg(dir.path());
        unshare.args(main(&name));
        let holder = unshare.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let mut holder = holder.context("running setpriv and unshare, of util-linux")?;
        let first = first_process(&mut holder, &dir.path().join("up"))?;
        Ok(Self { name, first_fd: watch(first)?, first, holder, dir })
    }

    /// Also the name of its node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes its control group in every hierarchy, for a node that does not do so itself; its name there.
    pub fn make_group(&self) -> Result<String> {
        groups::make(&self.name)
    }

    /// The process that all which is left alone there becomes a child of.
    pub fn first_process(&self) -> u32 {
        self.first
    }

    /// The machine's root directory, seen from here.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.first).into()
    }

    /// Fails when the machine has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.holder.try_wait()? {
            Some(status) => bail!("the node ended: {status}"),
            None => Ok(()),
        }
    }

    /// A program run on this machine, with a home of its own: kubectl keeps there what it learned of a cluster.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        // Its number may be another's by now.
        if poll(&mut [PollFd::new(&self.first_fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
            bail!("the node is gone");
        }
        let mut enter = Command::new("nsenter");
        enter.arg("--target").arg(self.first.to_string());
        enter.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"]).arg(program);
        enter.env("HOME", self.dir.path().join("home")).env_remove("KUBECONFIG").stdin(Stdio::null());
        Ok(enter)
    }

    /// Runs it to its end, which must be a success.
    pub fn run(&self, program: impl AsRef<OsStr>, args: &[&OsStr]) -> Result<()> {
        let output = self.command(&program)?.args(args).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{} {args:?}: {said}", program.as_ref().display());
        }
        Ok(())
    }

    /// The first wish that we end ends the machine instead, and what waits for it; we end ourselves by cleaning up.
    pub fn end_when_asked(&self) -> Result<()> {
        let holder = watch(self.holder.id())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let wish = {
            let _entered = runtime.enter();
            Wish::listen()?
        };
        std::thread::spawn(move || {
            let _ = note(&format!("{}: ending the node", runtime.block_on(wish.came())));
            // It may have ended already.
            let _ = pidfd_send_signal(&holder, Signal::KILL);
        });
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.holder.kill()?;
        self.holder.wait()?;
        // It ends when all that runs there has, and no control group is in use any more.
        let patience = Timespec { tv_sec: END_SECONDS, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.first_fd, PollFlags::IN)], Some(&patience))?;
        groups::remove(&self.name)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            let _ = note(&format!("ending {}: {error:#}", self.name));
        }
    }
}

/// The one child of `unshare`, once it says by a file that the machine is up.
fn first_process(holder: &mut Child, up: &Path) -> Result<u32> {
    let (id, began) = (holder.id(), Instant::now());
    while !up.exists() {
        if let Some(status) = holder.try_wait()? {
            bail!("the machine did not come up: {status}");
        }
        if began.elapsed() > PATIENCE {
            holder.kill()?;
            bail!("the machine did not come up in time");
        }
        std::thread::sleep(ASK_EVERY);
    }
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).context("the node is gone")
}

fn watch(pid: u32) -> Result<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed()).context("no process has the number 0")?;
    pidfd_open(pid, PidfdFlags::empty()).context("watching the node")
}
