//! Answering the agent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::jobs::Work;
use super::poller::Token;
use super::state::{Phase, Requester, Shim};
use crate::init;
use crate::protocol::{self, EVENT, ExitRecord, Listed, REQUEST_BYTES_MAX, Reply, Request};
use crate::sys;

/// When a request is answered.
enum Answer {
    Now,
    /// When an external runtime has done it.
    Later,
}

impl Shim {
    pub fn read_requests(&mut self, index: u32) {
        let mut buffer = [0; REQUEST_BYTES_MAX];
        loop {
            let Some(connection) = self.connections.get(index) else { return };
            let mut fds = Vec::new();
            match protocol::receive::<Request>(connection, &mut buffer, &mut fds) {
                Ok(Some((number, request))) => self.handle(Requester { connection: index, number }, request, fds),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // Gone, or speaking another language.
                Ok(None) | Err(_) => return self.close_connection(index),
            }
        }
    }

    fn close_connection(&mut self, index: u32) {
        if let Some(connection) = self.connections.remove(index) {
            self.poller.remove(&connection);
        }
        // Nobody is left to read what these write or to hear of their end.
        for (_, exec) in self.execs.iter_mut().filter(|(_, exec)| exec.requester.connection == index) {
            exec.kill();
        }
    }

    fn handle(&mut self, requester: Requester, request: Request, fds: Vec<OwnedFd>) {
        let result = match request {
            Request::Begin => self.begin(fds),
            Request::Start => match self.start(requester, fds) {
                Ok(()) => return,
                Err(text) => Err(text),
            },
            Request::Exec => match self.exec(requester, fds) {
                Ok(()) => return,
                Err(text) => Err(text),
            },
            Request::Attach { container } => match self.attach(requester, &container) {
                Ok(()) => return,
                Err(text) => Err(text),
            },
            Request::Signal { container, signal, all } => match self.signal(requester, &container, signal, all) {
                Ok(Answer::Later) => return,
                Ok(Answer::Now) => Ok(()),
                Err(text) => Err(text),
            },
            Request::KillExec { number } => {
                self.kill_exec(Requester { number, ..requester });
                Ok(())
            }
            Request::ReopenLog { container } => self.reopen_log(&container),
            Request::List => {
                self.lists.push(requester);
                return self.answer_lists();
            }
            Request::Forget { container } => {
                self.forget(&container);
                Ok(())
            }
            Request::Stop => {
                self.stopping = Some(requester);
                self.kill_everything();
                return;
            }
        };
        let reply = result.map_or_else(|text| Reply::Failed { text }, |()| Reply::Done);
        self.answer(requester, &reply, &[]);
    }

    /// Answers, or gives up on an agent that does not read: it asks for the list when it comes back.
    pub fn answer(&mut self, to: Requester, reply: &Reply, fds: &[BorrowedFd<'_>]) {
        let Some(connection) = self.connections.get(to.connection) else { return };
        if protocol::send(connection, to.number, reply, fds).is_err() {
            self.close_connection(to.connection);
        }
    }

    /// Tells every agent.
    pub fn announce(&mut self, event: &Reply) {
        let connections: Vec<u32> = self.connections.iter().map(|(index, _)| index).collect();
        for connection in connections {
            self.answer(Requester { connection, number: EVENT }, event, &[]);
        }
    }

    fn signal(&mut self, requester: Requester, id: &str, signal: i32, all: bool) -> Result<Answer, String> {
        let Some(index) = self.find_container(id) else { return Err(format!("container {id} not found")) };
        let container = self.containers.get(index).expect("just found");
        if matches!(container.phase, Phase::Exited(_)) {
            return Ok(Answer::Now);
        }
        let unborn = container.external.is_some() && matches!(container.phase, Phase::Starting(_));
        if unborn || (all && signal == libc::SIGKILL) {
            self.kill_container(index);
            return Ok(Answer::Now);
        }
        if let Some(external) = &container.external {
            let begun = external.kill(signal)?;
            self.begin_job(begun, Work::Kill { container: index, requester: Some(requester) });
            return Ok(Answer::Later);
        }
        sys::process::kill(container.pid, signal)
            .map(|()| Answer::Now)
            .map_err(|e| format!("signal container {id}: {}", init::cause(&e)))
    }

    fn kill_everything(&mut self) {
        let alive = self.containers.iter().filter(|(_, c)| !matches!(c.phase, Phase::Exited(_)));
        let alive: Vec<u32> = alive.map(|(index, _)| index).collect();
        for index in alive {
            self.kill_container(index);
        }
        for (_, exec) in self.execs.iter_mut() {
            exec.kill();
        }
    }

    fn reopen_log(&mut self, id: &str) -> Result<(), String> {
        let Some(index) = self.find_container(id) else { return Err(format!("container {id} not found")) };
        let container = self.containers.get_mut(index).expect("just found");
        container.io.log.reopen().map_err(|e| format!("reopen log of container {id}: {}", init::cause(&e)))
    }

    /// Tells what there is as soon as every container either runs or does not: an agent that was told of half a
    /// start would take it for none and start anew.
    pub fn answer_lists(&mut self) {
        if self.is_starting() {
            return;
        }
        for requester in std::mem::take(&mut self.lists) {
            self.answer(requester, &Reply::Containers { list: self.list() }, &[]);
        }
    }

    pub fn is_starting(&self) -> bool {
        self.containers.iter().any(|(_, c)| matches!(c.phase, Phase::Starting(_)))
    }

    fn list(&self) -> Vec<Listed> {
        let started = self.containers.iter().filter(|(_, c)| !matches!(c.phase, Phase::Starting(_)));
        let listed = started.map(|(_, c)| {
            let exit: Option<ExitRecord> = if let Phase::Exited(exit) = &c.phase { Some(exit.clone()) } else { None };
            Listed { id: c.id.clone(), pid: c.pid, started_unix_nanos: c.started_unix_nanos, exit }
        });
        listed.collect()
    }

    fn forget(&mut self, id: &str) {
        if let Some(index) = self.find_container(id)
            && matches!(self.containers.get(index).map(|c| &c.phase), Some(Phase::Exited(_)))
        {
            self.drop_clients_of(index);
            self.containers.remove(index);
        }
    }

    /// Starts listening to a descriptor kept in this state.
    pub fn watch(&self, fd: impl AsFd, token: Token) -> Result<(), String> {
        self.poller.add(fd, token).map_err(|e| format!("watch descriptor: {}", init::cause(&e)))
    }
}
