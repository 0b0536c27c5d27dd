//! More processes in a container, and hearing one that runs.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::pipe::PipeFlags;
use tokio::sync::oneshot;

use super::shim::ShimClient;
use super::state::ContainerEntry;
use super::{Inner, external, io_error};
use crate::protocol::{self, Reply, Request};
use crate::{Exec, ExecConfig, Result, RuntimeError, Streams, bundle, spec};

impl Inner {
    pub async fn exec(&self, id: &str, config: &ExecConfig) -> Result<Exec> {
        if config.args.is_empty() {
            return Err(RuntimeError::Other("no command specified".into()));
        }
        let record = self.container_record(id)?;
        if !self.state().containers.get(id).is_some_and(ContainerEntry::is_live) {
            return Err(RuntimeError::Other(format!("container {id} is not running")));
        }
        let sandbox = self.sandbox_record(&record.sandbox_id)?;
        let client = self.shim_of(&record.sandbox_id)?;
        let path = self.container_cgroup(id).unwrap_or_default();
        let mut plan = spec::exec(&record.config, &sandbox.config, id, config, self.cgroups.plan(&path))?;
        if record.oci_runtime.is_some() {
            plan.process_json = bundle::process(&plan.process, config.tty).to_string();
        }
        let plan = protocol::write_plan(&plan).map_err(|e| io_error("write the plan", e))?;
        let (mut streams, theirs) = pipes(config).map_err(|e| io_error("make pipes", e.into()))?;
        let fds: Vec<OwnedFd> = std::iter::once(plan).chain(theirs).collect();
        let number = client.number();
        let exit = client.exec_exit(number);
        // From here on the process dies with this value.
        let mut exit = ExitFuture { exit, client: client.clone(), number, over: false };
        match client.request_numbered(number, &Request::Exec, &fds, None).await? {
            (Reply::Failed { text }, _) => {
                exit.over = true;
                client.forget_exec(number);
                Err(RuntimeError::Start(format!("failed to exec in container: {}", external::reason(text))))
            }
            (_, mut fds) => {
                if let Some(terminal) = fds.pop() {
                    streams = terminal_streams(config, terminal).map_err(|e| io_error("copy the terminal", e))?;
                }
                Ok(Exec { streams, exit: Box::pin(exit) })
            }
        }
    }

    pub async fn attach(&self, id: &str) -> Result<Streams> {
        let record = self.container_record(id)?;
        let client = self.shim_of(&record.sandbox_id)?;
        let (reply, fds) = client.request(&Request::Attach { container: id.to_owned() }, &[]).await?;
        let (stdin, stderr, tty) = match reply {
            Reply::Attached { stdin, stderr, tty } => (stdin, stderr, tty),
            Reply::Failed { text } => return Err(RuntimeError::Other(text)),
            _ => return Err(RuntimeError::Other("unexpected answer from the shim".into())),
        };
        let mut fds = fds.into_iter();
        let mut next = |present: bool| if present { fds.next() } else { None };
        Ok(Streams { stdin: next(stdin), stdout: next(true), stderr: next(stderr), tty: next(tty) })
    }
}

/// Our ends of the streams asked for, and the program's in order. A terminal needs none.
fn pipes(config: &ExecConfig) -> std::result::Result<(Streams, Vec<OwnedFd>), rustix::io::Errno> {
    let mut streams = Streams { stdin: None, stdout: None, stderr: None, tty: None };
    let mut theirs = Vec::new();
    if config.tty {
        return Ok((streams, theirs));
    }
    if config.stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        theirs.push(read);
        streams.stdin = Some(write);
    }
    for (wanted, ours) in [(config.stdout, &mut streams.stdout), (config.stderr, &mut streams.stderr)] {
        if wanted {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            theirs.push(write);
            *ours = Some(read);
        }
    }
    Ok((streams, theirs))
}

fn terminal_streams(config: &ExecConfig, terminal: OwnedFd) -> std::io::Result<Streams> {
    let copy = |wanted: bool| wanted.then(|| terminal.try_clone()).transpose();
    Ok(Streams { stdin: copy(config.stdin)?, stdout: copy(config.stdout)?, stderr: None, tty: Some(terminal) })
}

/// The exit code to come; dropped before that, it kills.
struct ExitFuture {
    exit: oneshot::Receiver<i32>,
    client: Arc<ShimClient>,
    number: u32,
    over: bool,
}

impl Future for ExitFuture {
    type Output = Result<i32>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.exit).poll(cx);
        polled.map(|code| {
            self.over = true;
            code.map_err(|_| RuntimeError::Other("the container's shim is gone".into()))
        })
    }
}

impl Drop for ExitFuture {
    fn drop(&mut self) {
        if !self.over {
            self.client.forget_exec(self.number);
            self.client.tell(&Request::KillExec { number: self.number });
        }
    }
}
