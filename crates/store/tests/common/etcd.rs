//! Real etcd members on loopback, for one test each.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::time::Instant;

use orlop_base::port::ReservedPort;
use orlop_store::{EtcdConfig, Store};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// What etcd says when it takes requests.
const READY: &str = "serving client traffic";
/// And one that leads from now on.
const ELECTED: &str = "became leader at term ";

/// One member, which ends with this value.
pub struct Member {
    arguments: Vec<String>,
    process: Option<Child>,
    pub url: String,
    elections: Elections,
}

type Elections = watch::Sender<Option<Election>>;

/// As the winner tells of it.
#[derive(Clone, Debug)]
pub struct Election {
    pub term: u64,
    pub leader: String,
    pub at: Instant,
}

/// Members of one cluster.
pub struct EtcdCluster {
    pub members: Vec<Member>,
    pub tls: Option<rustls::ClientConfig>,
    elections: Elections,
    /// Of members that are down, too.
    _ports: Vec<ReservedPort>,
    _data: tempfile::TempDir,
}

impl EtcdCluster {
    /// Ready when this returns.
    pub fn start(size: usize) -> EtcdCluster {
        EtcdCluster::start_with(size, None, &[])
    }

    /// `tls` is the clients', `more` goes to every member.
    pub fn start_with(size: usize, tls: Option<rustls::ClientConfig>, more: &[String]) -> EtcdCluster {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let elections = Elections::new(None);
        let data = tempfile::tempdir().unwrap();
        let ports: Vec<_> = (0..2 * size).map(|_| ReservedPort::new().unwrap()).collect();
        let peers: Vec<String> = ports[size..].iter().map(|port| format!("http://{}", port.address)).collect();
        let initial: Vec<String> = peers.iter().enumerate().map(|(i, url)| format!("m{i}={url}")).collect();
        let member = |i: usize| {
            let url = format!("{scheme}://{}", ports[i].address);
            let dir = data.path().join(format!("m{i}"));
            let arguments = [
                ("name", format!("m{i}")),
                ("data-dir", dir.display().to_string()),
                ("listen-client-urls", url.clone()),
                ("advertise-client-urls", url.clone()),
                ("listen-peer-urls", peers[i].clone()),
                ("initial-advertise-peer-urls", peers[i].clone()),
                ("initial-cluster", initial.join(",")),
                ("logger", "zap".into()),
                ("log-outputs", "stderr".into()),
            ];
            let arguments =
                arguments.iter().map(|(name, value)| format!("--{name}={value}")).chain(more.iter().cloned());
            Member { arguments: arguments.collect(), process: None, url, elections: elections.clone() }
        };
        let members = (0..size).map(member).collect();
        let mut cluster = EtcdCluster { members, tls, elections: elections.clone(), _ports: ports, _data: data };
        // A member is ready only once most are there.
        let starting: Vec<_> = cluster.members.iter_mut().map(Member::spawn).collect();
        starting.into_iter().for_each(|ready| ready.recv().unwrap());
        cluster
    }

    pub fn config(&self, prefix: &str) -> EtcdConfig {
        EtcdConfig {
            servers: self.members.iter().map(|member| member.url.clone()).collect(),
            tls: self.tls.clone(),
            prefix: prefix.to_owned(),
            builtin: Vec::new(),
            transformer: None,
            compaction_interval: std::time::Duration::ZERO,
        }
    }

    pub async fn open(&self, prefix: &str) -> Store {
        open(self.config(prefix)).await
    }

    /// Which member the others follow.
    pub fn leader(&self) -> usize {
        let last = self.elections.borrow().clone().expect("members that are ready have a leader");
        self.members.iter().position(|member| member.url == last.leader).expect("one of them")
    }

    /// Tells of the newest.
    pub fn elections(&self) -> watch::Receiver<Option<Election>> {
        self.elections.subscribe()
    }
}

pub async fn open(config: EtcdConfig) -> Store {
    Store::in_etcd(config).await.unwrap()
}

impl Member {
    /// One call of etcd's JSON gateway.
    pub fn call(&self, path: &str, body: &str) -> serde_json::Value {
        let authority = self.url.trim_start_matches("http://");
        let mut connection = TcpStream::connect(authority).unwrap();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nHost: {authority}\r\nContent-Length: {length}\r\n\r\n");
        connection.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// The receiver hears when it takes requests.
    fn spawn(&mut self) -> std::sync::mpsc::Receiver<()> {
        let mut process = Command::new(program()).args(&self.arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        self.process = Some(process);
        let (tell, ready) = std::sync::mpsc::channel();
        let (elections, leader) = (self.elections.clone(), self.url.clone());
        // Reads to the end, or etcd would block on its log.
        std::thread::spawn(move || {
            let mut told = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                if line.contains(READY) {
                    let _ = tell.send(());
                }
                if let Some(term) = elected(&line) {
                    let election = Election { term, leader: leader.clone(), at: Instant::now() };
                    elections.send_if_modified(|last| {
                        let news = last.as_ref().is_none_or(|last| last.term < term);
                        *last = if news { Some(election) } else { last.take() };
                        news
                    });
                }
                told.push(line);
                if told.len() > 50 {
                    told.remove(0);
                }
            }
        });
        ready
    }

    /// Starts it again; returns when it takes requests.
    pub fn restart(&mut self) {
        self.spawn().recv().unwrap();
    }

    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// As if the network to and from it were gone: connections stay, nothing comes.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The term, if the line tells of a victory.
fn elected(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(ELECTED)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Of `ORLOP_ETCD`, of `cargo xtask conformance`, or of the system.
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("ORLOP_ETCD") {
        return named.into();
    }
    let built = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/orlop/conformance"));
    let versions = built.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut candidates: Vec<PathBuf> = versions.map(|version| version.path().join("bin/etcd")).collect();
    candidates.sort();
    candidates.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates.extend(std::env::split_paths(&path).map(|dir| dir.join("etcd")));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .expect("these tests need etcd: install Debian's etcd-server, or name one in ORLOP_ETCD")
}
