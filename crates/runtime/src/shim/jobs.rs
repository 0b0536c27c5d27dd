//! What follows when an external runtime is done with a step. The processes it leaves become children of the
//! shim, their nearest subreaper, and are watched like those it made itself.

use super::console;
use super::external::{Begun, External, Files};
use super::start::{OOM_KILLED, hear};
use super::state::{Phase, Requester, Shim, Starting};
use crate::init::cause;
use crate::protocol::Reply;
use crate::shim::record;
use crate::sys::process;

/// A run of the runtime's program.
pub struct Job {
    pub pid: i32,
    files: Files,
    work: Work,
}

#[derive(Clone, Copy)]
pub enum Work {
    Create { container: u32 },
    Start { container: u32 },
    Exec { exec: u32, container: u32 },
    Kill { container: u32, requester: Option<Requester> },
    Delete,
}

/// Deaths remembered until it is said whose they were.
const STRAYS_MAX: usize = 256;
const CUT_SHORT: &str = "container was stopped before it could start";

impl Shim {
    /// Remembers a step that was begun.
    pub fn begin_job(&mut self, begun: Begun, work: Work) {
        self.jobs.insert(Job { pid: begun.pid, files: begun.files, work });
    }

    /// A process died that is none we know: perhaps one that the runtime has yet to name.
    pub fn keep_stray(&mut self, pid: i32, status: i32) {
        if self.jobs.is_empty() && !self.is_starting() {
            self.strays = Vec::new();
            return;
        }
        if self.strays.len() == STRAYS_MAX {
            self.strays.remove(0);
        }
        self.strays.push((pid, status));
    }

    pub fn take_stray(&mut self, pid: i32) -> Option<i32> {
        let at = self.strays.iter().position(|(stray, _)| *stray == pid)?;
        Some(self.strays.swap_remove(at).1)
    }

    pub fn job_done(&mut self, index: u32, status: i32) {
        let Some(job) = self.jobs.remove(index) else { return };
        let ok = process::exit_code(status) == (0, 0);
        match job.work {
            Work::Create { container } => self.created(container, &job.files, ok),
            Work::Start { container } => self.started(container, &job.files, ok),
            Work::Exec { exec, container } => self.exec_done(exec, container, &job.files, ok),
            Work::Kill { container, requester } => self.killed(container, requester, &job.files, ok),
            Work::Delete => {}
        }
    }

    fn created(&mut self, index: u32, files: &Files, ok: bool) {
        let Some((external, pid)) = self.external(index).map(|e| (e.clone(), e.pid(files).filter(|_| ok))) else {
            return;
        };
        let stray = pid.and_then(|pid| self.take_stray(pid));
        let stopping = self.stopping.is_some();
        let Some(container) = self.containers.get_mut(index) else { return };
        let Phase::Starting(starting) = &mut container.phase else { return };
        external.let_go_of_root();
        adopt(starting, &external, files, pid);
        starting.status = stray;
        container.pid = pid.unwrap_or_default();
        if (stopping || container.doomed) && starting.error.is_none() {
            starting.error = Some(CUT_SHORT.into());
        }
        if starting.error.is_none() {
            match external.start() {
                Ok(begun) => return self.begin_job(begun, Work::Start { container: index }),
                Err(text) => starting.error = Some(text),
            }
        }
        self.give_up(index, &external);
    }

    fn started(&mut self, index: u32, files: &Files, ok: bool) {
        let Some(external) = self.external(index).cloned() else { return };
        let Some(container) = self.containers.get_mut(index) else { return };
        let Phase::Starting(starting) = &mut container.phase else { return };
        let status = starting.status;
        starting.ready = ok;
        if !ok {
            starting.error = Some(external.log(files));
            return self.give_up(index, &external);
        }
        self.finish_start(index);
        if let Some(status) = status {
            self.container_died(index, status);
        } else if self.containers.get(index).is_some_and(|c| c.doomed) {
            self.kill_container(index);
        }
    }

    /// Answers that it could not be started, and has the runtime forget it.
    fn give_up(&mut self, index: u32, external: &External) {
        if let Some(container) = self.containers.get_mut(index)
            && container.cgroup.oom.as_deref().is_some_and(record::oom_killed)
            && let Phase::Starting(starting) = &mut container.phase
        {
            starting.error = Some(OOM_KILLED.into());
        }
        self.delete(external);
        self.finish_start(index);
    }

    fn exec_done(&mut self, index: u32, container: u32, files: &Files, ok: bool) {
        let Some(external) = self.external(container).cloned() else { return };
        let pid = external.pid(files).filter(|_| ok);
        let stray = pid.and_then(|pid| self.take_stray(pid));
        let Some(exec) = self.execs.get_mut(index) else { return };
        let Some(starting) = &mut exec.starting else { return };
        adopt(starting, &external, files, pid);
        starting.ready = starting.error.is_none();
        exec.pid = pid.unwrap_or_default();
        exec.status = stray;
        if exec.doomed {
            let _ = process::kill(exec.pid, libc::SIGKILL);
        }
        external.remove_files(files);
        self.finish_exec(index);
    }

    /// Ends the steps towards a container that is not wanted any more.
    pub fn cut_short(&self, index: u32) {
        let towards =
            |work| matches!(work, Work::Create { container } | Work::Start { container } if container == index);
        for (_, job) in self.jobs.iter().filter(|(_, job)| towards(job.work)) {
            let _ = process::kill(job.pid, libc::SIGKILL);
        }
    }

    /// A signal for a container that is dead already has not failed.
    fn killed(&mut self, index: u32, requester: Option<Requester>, files: &Files, ok: bool) {
        let Some(requester) = requester else { return };
        let live = self.containers.get(index).filter(|c| !matches!(c.phase, Phase::Exited(_)));
        let log = live.and_then(|c| c.external.as_ref()).filter(|_| !ok).map(|external| external.log(files));
        let reply = log.map_or(Reply::Done, |text| Reply::Failed { text });
        self.answer(requester, &reply, &[]);
    }

    /// Has the runtime forget a container, dead or not.
    pub fn delete(&mut self, external: &External) {
        if let Ok(begun) = external.delete() {
            self.begin_job(begun, Work::Delete);
        }
    }

    fn external(&self, container: u32) -> Option<&External> {
        self.containers.get(container)?.external.as_ref()
    }
}

/// What a step has left: a process and perhaps its terminal, or an error.
fn adopt(starting: &mut Starting, external: &External, files: &Files, pid: Option<i32>) {
    hear(starting);
    if starting.error.is_some() {
        return;
    }
    if pid.is_none() {
        starting.error = Some(external.log(files));
    } else if let Some(listener) = starting.console.take() {
        match console::receive(&listener) {
            Ok(terminal) => starting.terminal = Some(terminal),
            Err(error) => starting.error = Some(format!("receive the terminal: {}", cause(&error))),
        }
    }
}
