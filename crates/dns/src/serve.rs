//! UDP and TCP on one address.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::answer::{MAX_UDP_PAYLOAD, Reply, answer, response_to};
use crate::forward::{Forwarder, read_message, write_message};
use crate::zone::Zone;

/// Questions being forwarded and TCP connections open at one time; past it UDP questions are
/// dropped (clients ask again) and connections wait.
const IN_FLIGHT_MAX: usize = 1024;

/// A silent TCP client is let go (RFC 7766 leaves the time to the server).
const TCP_IDLE: Duration = Duration::from_secs(10);

/// A name server: what it knows and whom it asks.
#[derive(Debug)]
pub struct Nameserver {
    pub zone: RwLock<Zone>,
    pub forwarder: Forwarder,
    slots: Arc<Semaphore>,
}

/// Bound sockets, ready to serve.
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds both protocols to the address; with port 0, to one that the system picks.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let udp = UdpSocket::bind(tcp.local_addr()?).await?;
        Ok(Self { udp, tcp })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

impl Nameserver {
    pub fn new(domain: &str, forwarder: Forwarder) -> Arc<Self> {
        Arc::new(Self {
            zone: RwLock::new(Zone::new(domain)),
            forwarder,
            slots: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        })
    }

    /// Serves until cancelled.
    pub async fn run(self: Arc<Self>, sockets: Sockets, shutdown: CancellationToken) {
        let udp = Arc::new(sockets.udp);
        let mut buffer = vec![0; 65_535];
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = udp.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => self.datagram(&udp, &buffer[..length], from).await,
                    // An ICMP error of an earlier answer; nothing of ours is wrong.
                    Err(error) => tracing::debug!(%error, "receiving a DNS question"),
                },
                accepted = sockets.tcp.accept() => match accepted {
                    Ok((stream, _)) => self.connection(stream, shutdown.clone()),
                    Err(error) => tracing::warn!(%error, "accepting a DNS connection"),
                },
            }
        }
    }

    /// Answers from memory at once; only what must be forwarded gets a task.
    async fn datagram(self: &Arc<Self>, socket: &Arc<UdpSocket>, bytes: &[u8], from: SocketAddr) {
        match self.local(bytes) {
            Step::Send(message) => {
                let limit = payload_limit(bytes);
                if let Some(reply) = encode(&message, limit) {
                    let _ = socket.send_to(&reply, from).await;
                }
            }
            Step::Ignore => {}
            step => {
                let Ok(slot) = self.slots.clone().try_acquire_owned() else { return };
                let (this, socket, query) = (self.clone(), socket.clone(), bytes.to_vec());
                tokio::spawn(async move {
                    let _slot = slot;
                    if let Some(reply) = this.remote(step, &query, false).await {
                        let _ = socket.send_to(&reply, from).await;
                    }
                });
            }
        }
    }

    fn connection(self: &Arc<Self>, mut stream: TcpStream, shutdown: CancellationToken) {
        let this = self.clone();
        tokio::spawn(async move {
            let Ok(_slot) = this.slots.clone().acquire_owned().await else { return };
            let serve = async {
                while let Ok(Ok(query)) = tokio::time::timeout(TCP_IDLE, read_message(&mut stream)).await {
                    let reply = match this.local(&query) {
                        Step::Send(message) => encode(&message, usize::from(u16::MAX)),
                        Step::Ignore => None,
                        step => this.remote(step, &query, true).await,
                    };
                    let Some(reply) = reply else { return };
                    if write_message(&mut stream, &reply).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! { biased; () = shutdown.cancelled() => {} () = serve => {} }
        });
    }

    fn local(&self, bytes: &[u8]) -> Step {
        let Ok(query) = Message::from_vec(bytes) else { return Step::Ignore };
        if query.metadata.message_type != hickory_proto::op::MessageType::Query {
            return Step::Ignore;
        }
        let zone = self.zone.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match answer(&zone, &query) {
            Reply::Answer(message) => Step::Send(message),
            Reply::Forward => Step::Forward(Box::new(query)),
            Reply::Follow { answer, target } => Step::Follow { answer, target },
        }
    }

    async fn remote(&self, step: Step, query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        match step {
            Step::Forward(parsed) => match self.forwarder.ask(query, over_tcp).await {
                Ok(reply) => Some(reply),
                Err(error) => {
                    tracing::debug!(%error, "forwarding a DNS question");
                    let mut failed = response_to(&parsed);
                    failed.metadata.authoritative = false;
                    failed.metadata.response_code = ResponseCode::ServFail;
                    encode(&failed, usize::from(u16::MAX))
                }
            },
            Step::Follow { mut answer, target } => {
                let mut question = answer.queries.first()?.clone();
                question.set_name(target);
                let mut ask = Message::query();
                ask.metadata.recursion_desired = true;
                ask.queries.push(question);
                let reply = match ask.to_vec() {
                    Ok(bytes) => self.forwarder.ask(&bytes, over_tcp).await.ok(),
                    Err(_) => None,
                };
                if let Some(found) = reply.and_then(|bytes| Message::from_vec(&bytes).ok()) {
                    answer.answers.extend(found.answers);
                }
                let limit = if over_tcp { usize::from(u16::MAX) } else { payload_limit(query) };
                encode(&answer, limit)
            }
            Step::Send(_) | Step::Ignore => None,
        }
    }
}

enum Step {
    Send(Box<Message>),
    Forward(Box<Message>),
    Follow { answer: Box<Message>, target: hickory_proto::rr::Name },
    Ignore,
}

/// What the asker can take over UDP: 512 bytes (RFC 1035), or what its EDNS says, within reason.
fn payload_limit(query: &[u8]) -> usize {
    let asked = Message::from_vec(query).ok().and_then(|m| m.edns).map_or(512, |edns| edns.max_payload());
    usize::from(asked.clamp(512, MAX_UDP_PAYLOAD))
}

/// Bytes of the message; when they do not fit, an empty truncated one that makes the asker use TCP.
fn encode(message: &Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= limit { Some(bytes) } else { message.truncate().to_vec().ok() }
}
