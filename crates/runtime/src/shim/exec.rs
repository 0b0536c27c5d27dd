//! More processes in running containers. Their streams are the agent's own: nothing passes through here.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags};

use super::external::External;
use super::jobs::Work;
use super::poller::Token;
use super::start::{hear, start_error, sync_pair};
use super::state::{Exec, Phase, Requester, Shim, Starting};
use crate::init::{self, Context, Stdio, cause};
use crate::plan::ExecPlan;
use crate::protocol::{self, EVENT, Reply};
use crate::sys::process;

impl Shim {
    /// Forks into the container; the answer follows when the program runs or has failed.
    pub fn exec(&mut self, requester: Requester, mut fds: Vec<OwnedFd>) -> Result<(), String> {
        if fds.is_empty() {
            return Err("no plan came with the request".into());
        }
        let streams = fds.split_off(1);
        let plan: ExecPlan = protocol::read_plan(fds.remove(0)).map_err(|e| cause(&e))?;
        let (sync, child_sync) = sync_pair().map_err(|e| format!("make socket pair: {}", cause(&e)))?;
        let stdio = if plan.tty { Stdio::Terminal } else { Stdio::Pipes(deal(&plan.streams, streams)) };
        let context = Context { sync: child_sync, stdio, own_exe: self.own_exe, users: None };
        let container = self.find_container(&plan.container).unwrap_or_default();
        if let Some(external) = self.containers.get(container).and_then(|c| c.external.clone()) {
            return self.exec_external(container, &external, &plan, context, Starting::new(sync, requester));
        }
        let target = self.open_container(&plan.container)?;
        let pid = self.fork_into(Some(&target), 0, &plan.cgroup, || init::exec(&plan, &target, context))?;
        let index = self.execs.insert(Exec::new(requester, pid, Starting::new(sync, requester)));
        let exec = self.execs.get(index).expect("just inserted");
        let sync = &exec.starting.as_ref().expect("just made").sync;
        self.watch(sync, Token::Exec(index))
    }

    /// Has the runtime do it; the answer follows when it is done.
    fn exec_external(
        &mut self,
        container: u32,
        external: &External,
        plan: &ExecPlan,
        context: Context,
        starting: Starting,
    ) -> Result<(), String> {
        let index = self.execs.insert(Exec::new(starting.requester, 0, starting));
        match external.exec(plan, index, context) {
            Ok(mut begun) => {
                let exec = self.execs.get_mut(index).expect("just inserted");
                let starting = exec.starting.as_mut().expect("just made");
                starting.console = begun.console.take();
                self.begin_job(begun, Work::Exec { exec: index, container });
                Ok(())
            }
            Err(text) => {
                self.execs.remove(index);
                Err(text)
            }
        }
    }

    /// A pidfd of a running container's first process.
    pub fn open_container(&self, id: &str) -> Result<OwnedFd, String> {
        let found = self.find_container(id).and_then(|index| self.containers.get(index));
        let Some(container) = found else { return Err(format!("container {id} not found")) };
        if !matches!(container.phase, Phase::Running) {
            return Err(format!("container {id} is not running"));
        }
        let pid = Pid::from_raw(container.pid).ok_or("container has no process")?;
        rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(|e| format!("open container {id}: {}", cause(&e.into())))
    }

    pub fn read_exec(&mut self, index: u32) {
        let Some(exec) = self.execs.get_mut(index) else { return };
        let Some(starting) = &mut exec.starting else { return };
        if hear(starting) {
            self.finish_exec(index);
        }
    }

    pub fn finish_exec(&mut self, index: u32) {
        let Some(exec) = self.execs.get_mut(index) else { return };
        let Some(starting) = exec.starting.take() else { return };
        self.poller.remove(&starting.sync);
        let (requester, pid, status) = (exec.requester, exec.pid, exec.status);
        let no_cgroup = crate::plan::CgroupPlan { tasks: Vec::new(), unified: None, oom: None, kill: None };
        if let Some(text) = start_error(&starting, &no_cgroup) {
            // Reaped without being known any more.
            self.execs.remove(index);
            return self.answer(requester, &Reply::Failed { text }, &[]);
        }
        let terminal: Vec<_> = starting.terminal.iter().map(AsFd::as_fd).collect();
        self.answer(requester, &Reply::ExecStarted { pid }, &terminal);
        if let Some(status) = status {
            self.exec_died(index, status);
        }
    }

    pub fn exec_died(&mut self, index: u32, status: i32) {
        let Some(exec) = self.execs.get_mut(index) else { return };
        if exec.starting.is_some() {
            exec.status = Some(status);
            return self.read_exec(index);
        }
        let requester = exec.requester;
        self.execs.remove(index);
        let (code, _) = process::exit_code(status);
        let event = Reply::ExecExited { number: requester.number, code };
        self.answer(Requester { number: EVENT, ..requester }, &event, &[]);
    }

    pub fn kill_exec(&mut self, requester: Requester) {
        for (_, exec) in self.execs.iter_mut().filter(|(_, exec)| exec.requester == requester && exec.status.is_none())
        {
            exec.kill();
        }
    }
}

impl Exec {
    fn new(requester: Requester, pid: i32, starting: Starting) -> Self {
        Self { requester, pid, starting: Some(starting), status: None, doomed: false }
    }

    pub fn kill(&mut self) {
        self.doomed = true;
        let _ = process::kill(self.pid, libc::SIGKILL);
    }
}

/// Deals the descriptors that came to the streams they are for.
fn deal(wanted: &[bool], streams: Vec<OwnedFd>) -> [Option<OwnedFd>; 3] {
    let mut streams = streams.into_iter();
    let mut next = |at: usize| if wanted.get(at) == Some(&true) { streams.next() } else { None };
    [next(0), next(1), next(2)]
}
