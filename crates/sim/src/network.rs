//! The way from components to the API server, with what can go wrong on it.
//!
//! Every component keeps its [`Line`] over crashes of the server: the network knows who serves now.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use orlop_client::transport::{Body, BoxError, NotSent, Transport, UserInfo, full};
use orlop_server::Server;
use orlop_store::Revision;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often what happens, in thousandths of all requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Never reaches the server; the caller hears of it.
    pub lost_request: u32,
    /// Done, but the caller hears only that the connection broke.
    pub lost_reply: u32,
    /// Never reaches the server, and the caller hears nothing at all.
    pub silence: u32,
    /// Takes up to `delay_max` to arrive, and again to be answered.
    pub delayed: u32,
    pub delay_max: Duration,
    /// Of watches: breaks within a minute.
    pub cut_watch: u32,
    /// Of chunks of watches: comes up to `lag_max` late, and so does everything after it.
    pub lagging: u32,
    pub lag_max: Duration,
}

/// Faults injected so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    pub lost_requests: u64,
    pub lost_replies: u64,
    pub silences: u64,
    pub delays: u64,
    pub cut_watches: u64,
    pub lags: u64,
    pub crashes: u64,
    pub node_deaths: u64,
    pub restarts: u64,
    /// Managers kept from renewing their lease.
    pub lease_cuts: u64,
    pub pod_crashes: u64,
}

impl Counts {
    /// All faults of all kinds.
    pub fn faults(&self) -> u64 {
        let Self { requests: _, lost_requests, lost_replies, silences, delays, cut_watches, lags, .. } = *self;
        let machines = self.crashes + self.node_deaths + self.restarts + self.lease_cuts + self.pod_crashes;
        lost_requests + lost_replies + silences + delays + cut_watches + lags + machines
    }
}

/// A write that the server said it has done.
#[derive(Clone, Debug)]
pub struct Ack {
    /// `PUT /api/...`, for reports.
    pub write: String,
    pub uid: String,
    /// Of the object after the write; `None` for a deletion that left nothing.
    pub revision: Option<Revision>,
}

/// The process that serves now.
#[derive(Clone)]
struct Up {
    server: Arc<Server>,
    down: CancellationToken,
}

/// The network; clones share it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    up: Option<Up>,
    rng: fastrand::Rng,
    /// `None`: calm.
    rates: Option<Rates>,
    counts: Counts,
    acks: Vec<Ack>,
    /// Cancelled in calm: whoever waits in silence then hears that the connection is dead.
    calm: CancellationToken,
    /// What is met by silence.
    cut_off: BTreeSet<Cut>,
}

/// A process that holds clients; alive until `dead` is cancelled.
#[derive(Clone)]
pub struct Process {
    pub name: String,
    pub dead: CancellationToken,
}

/// A way that nothing passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// Everything that this process sends.
    Process(String),
    /// Only its requests about Leases: it loses leadership while its writes still arrive.
    Leases(String),
}

/// What becomes of one request.
#[derive(Default)]
struct Fate {
    before: Duration,
    after: Duration,
    loss: Option<Loss>,
    cut_after: Option<Duration>,
}

enum Loss {
    Request,
    Reply,
    Silence,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let (counts, acks, cut_off) = (Counts::default(), Vec::new(), BTreeSet::new());
        Self(Arc::new(Mutex::new(State {
            up: None,
            rng,
            rates: None,
            counts,
            acks,
            calm: CancellationToken::new(),
            cut_off,
        })))
    }

    /// `down` is cancelled when this server's process dies.
    pub fn serve(&self, server: Arc<Server>, down: CancellationToken) {
        self.state().up = Some(Up { server, down });
    }

    /// The connections of the process break and new ones are refused.
    pub fn unplug(&self) {
        if let Some(up) = self.state().up.take() {
            up.down.cancel();
        }
    }

    pub fn start_faults(&self, rates: Rates) {
        self.state().rates = Some(rates);
    }

    /// No faults from now on.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.rates, state.cut_off) = (None, BTreeSet::new());
        state.calm.cancel();
    }

    /// Cuts a way, or heals it.
    pub fn cut_off(&self, what: Cut, cut: bool) {
        let mut state = self.state();
        if cut {
            state.cut_off.insert(what);
        } else {
            state.cut_off.remove(&what);
        }
    }

    pub fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.state().counts);
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Acknowledged writes since the last call.
    pub fn take_acks(&self) -> Vec<Ack> {
        std::mem::take(&mut self.state().acks)
    }

    /// The way of `user`, a component of `process`.
    pub fn line(&self, user: UserInfo, process: &Process) -> Line {
        Line { network: self.clone(), user, process: process.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, is_cut: bool, is_watch: bool) -> Fate {
        self.counts.requests += 1;
        if is_cut {
            self.counts.silences += 1;
            return Fate { loss: Some(Loss::Silence), ..Fate::default() };
        }
        let Some(rates) = self.rates else { return Fate::default() };
        let mut fate = Fate::default();
        if self.happens(rates.delayed) {
            self.counts.delays += 1;
            (fate.before, fate.after) = (self.up_to(rates.delay_max), self.up_to(rates.delay_max));
        }
        if is_watch && self.happens(rates.cut_watch) {
            fate.cut_after = Some(self.up_to(Duration::from_mins(1)));
        }
        fate.loss = if self.happens(rates.lost_request) {
            self.counts.lost_requests += 1;
            Some(Loss::Request)
        } else if self.happens(rates.lost_reply) {
            self.counts.lost_replies += 1;
            Some(Loss::Reply)
        } else if self.happens(rates.silence) {
            self.counts.silences += 1;
            Some(Loss::Silence)
        } else {
            None
        };
        fate
    }

    fn happens(&mut self, rate: u32) -> bool {
        self.rng.u32(..1000) < rate
    }

    fn up_to(&mut self, max: Duration) -> Duration {
        max.mul_f64(self.rng.f64())
    }

    /// How late the next chunk of a watch comes.
    fn lag(&mut self) -> Option<Duration> {
        let rates = self.rates?;
        if !self.happens(rates.lagging) {
            return None;
        }
        self.counts.lags += 1;
        Some(self.up_to(rates.lag_max))
    }
}

/// One caller's connection.
#[derive(Clone)]
pub struct Line {
    network: Network,
    user: UserInfo,
    process: Process,
}

impl Transport for Line {
    fn send(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let line = self.clone();
        Box::pin(async move {
            let dead = line.process.dead.clone();
            tokio::select! {
                biased;
                // A dead process hears nothing, and does nothing either.
                () = dead.cancelled() => std::future::pending().await,
                answer = line.carry(request) => answer,
            }
        })
    }
}

impl Line {
    async fn carry(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let write = self.recorded(&request);
        let fate = {
            let mut state = self.network.state();
            let is_cut = self.is_cut(&state, request.uri().path());
            state.draw(is_cut, is_watch)
        };
        pause(fate.before).await;
        let up = self.network.state().up.clone();
        let Some(up) = up else { return Err(Box::new(NotSent("connection refused".into()))) };
        match fate.loss {
            Some(Loss::Silence) => {
                let calm = self.network.state().calm.clone();
                calm.cancelled().await;
                return Err("connection timed out".into());
            }
            Some(Loss::Request) => return Err("connection reset by peer".into()),
            _ => {}
        }
        let component = up.server.component(self.user.clone());
        let answer = tokio::select! {
            biased;
            () = up.down.cancelled() => return Err("connection reset by peer".into()),
            answer = component.send(request) => answer?,
        };
        if is_watch {
            let end = fate.cut_after.map(|after| Instant::now() + after);
            return Ok(answer.map(|body| self.stream(body, up.down, end)));
        }
        let answer = match write {
            Some(write) => self.record(write, answer).await?,
            None => answer,
        };
        pause(fate.after).await;
        match fate.loss {
            Some(Loss::Reply) => Err("connection reset by peer".into()),
            _ => Ok(answer),
        }
    }

    fn is_cut(&self, state: &State, path: &str) -> bool {
        let process = &self.process.name;
        state.cut_off.iter().any(|cut| match cut {
            Cut::Process(name) => name == process,
            Cut::Leases(name) => name == process && path.contains("/leases"),
        })
    }

    /// A watch that lags, breaks, and dies with the server or the watcher.
    fn stream(&self, body: Body, down: CancellationToken, end: Option<Instant>) -> Body {
        let (network, dead) = (self.network.clone(), self.process.dead.clone());
        let frames = stream::unfold(Some(body), move |body| {
            let (network, down, dead) = (network.clone(), down.clone(), dead.clone());
            async move {
                let mut body = body?;
                let broken = |what: &str| Some((Err::<Frame<Bytes>, BoxError>(what.into()), None));
                let frame = tokio::select! {
                    biased;
                    () = dead.cancelled() => std::future::pending().await,
                    () = down.cancelled() => return broken("connection reset by peer"),
                    () = until(end) => {
                        network.count(|counts| counts.cut_watches += 1);
                        return broken("unexpected EOF");
                    }
                    frame = body.frame() => frame?,
                };
                let lag = network.state().lag();
                pause(lag.unwrap_or_default()).await;
                Some((frame, Some(body)))
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// How the write is called in reports; `None` for what need not survive a crash.
    fn recorded(&self, request: &Request<Body>) -> Option<String> {
        let path = request.uri().path();
        let relaxed = path.contains("/leases") || path.contains("/events");
        let is_write = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
        (is_write && !relaxed).then(|| format!("{} {path} by {}", request.method(), self.user.name))
    }

    async fn record(&self, write: String, answer: Response<Body>) -> Result<Response<Body>, BoxError> {
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await?.to_bytes();
        if head.status.is_success()
            && let Some(ack) = ack(write, &bytes)
        {
            self.network.state().acks.push(ack);
        }
        Ok(Response::from_parts(head, full(bytes)))
    }
}

#[derive(serde::Deserialize)]
struct Answer {
    kind: String,
    #[serde(default)]
    metadata: AnswerMeta,
    details: Option<AnswerMeta>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnswerMeta {
    uid: String,
    resource_version: String,
}

fn ack(write: String, body: &[u8]) -> Option<Ack> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    if answer.kind == "Status" {
        let uid = answer.details.map(|details| details.uid).filter(|uid| !uid.is_empty())?;
        return write.starts_with("DELETE").then_some(Ack { write, uid, revision: None });
    }
    let revision = answer.metadata.resource_version.parse().ok()?;
    // Answers to a whole collection name no object.
    if answer.metadata.uid.is_empty() {
        return None;
    }
    Some(Ack { write, uid: answer.metadata.uid, revision: Some(revision) })
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
