//! The members of an etcd cluster: one connection at a time, to the next member when one fails.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use orlop_base::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::connect::Endpoint;
use super::failure::Reason as _;
use super::grpc::{Channel, Failure, Stream};
use super::proto::Message;
use super::rpc;

/// How long a member may take at first: as long as the others wait before they elect another leader
/// (`--election-timeout`). Each further try may take twice as long, so that a slow cluster is not
/// asked more and more at once.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const MAX_PATIENCE: Duration = Duration::from_secs(8);

/// When to tell the caller that it did not work: longer than the worst election.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(15);

/// Between tries. While there is no leader every member says so at once, and who waits for one shares a
/// read: no longer than a new leader takes to be heard of (`--heartbeat-interval`).
pub(crate) const RETRY: Backoff = Backoff { initial: Duration::from_millis(20), max: Duration::from_millis(100) };

/// How long a member has before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(200);

/// How long things may go wrong before the health check says so (`--etcd-healthcheck-timeout`).
const UNHEALTHY_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct Cluster {
    endpoints: Vec<Endpoint>,
    /// Held while connecting: everybody needs the same connection.
    current: tokio::sync::Mutex<Current>,
    /// The line that was given up last; its successor has the next number.
    given_up: watch::Sender<u64>,
    trouble: Mutex<Option<(Instant, Failure)>>,
}

#[derive(Default)]
struct Current {
    line: Option<Line>,
    /// When and why the last round of connecting came to nothing.
    failed: Option<(Instant, Failure)>,
}

/// A connection to a member.
#[derive(Clone)]
pub(crate) struct Line {
    number: u64,
    channel: Channel,
}

impl Cluster {
    /// Connects when first used.
    pub fn new(endpoints: Vec<Endpoint>) -> Cluster {
        Cluster {
            endpoints,
            current: tokio::sync::Mutex::default(),
            given_up: watch::Sender::new(0),
            trouble: Mutex::default(),
        }
    }

    /// Asks until somebody answers, at another member each time. Only for what does no harm when it is
    /// done twice.
    pub async fn ask(&self, path: &str, message: &Message) -> Result<Bytes, Failure> {
        self.ask_while(path, message, Failure::is_passing).await
    }

    /// Asks until somebody has heard it.
    pub async fn ask_once(&self, path: &str, message: &Message) -> Result<Bytes, Failure> {
        self.ask_while(path, message, |failure| failure.is_passing() && !failure.is_doubtful()).await
    }

    async fn ask_while(
        &self,
        path: &str,
        message: &Message,
        again: impl Fn(&Failure) -> bool,
    ) -> Result<Bytes, Failure> {
        let start = Instant::now();
        let (mut patience, mut failures) = (FIRST_PATIENCE, 0);
        loop {
            match self.attempt(path, message, patience).await {
                Err(failure) if again(&failure) && start.elapsed() < GIVE_UP => {
                    if matches!(failure, Failure::TimedOut) {
                        patience = (patience * 2).min(MAX_PATIENCE);
                    }
                }
                done => return done,
            }
            failures += 1;
            sleep(RETRY.delay(failures)).await;
        }
    }

    async fn attempt(&self, path: &str, message: &Message, patience: Duration) -> Result<Bytes, Failure> {
        let line = self.line().await?;
        let call = line.channel.unary(path, message);
        let result = timeout(patience, call).await.unwrap_or(Err(Failure::TimedOut));
        self.judge(line.number, result.as_ref().err());
        result
    }

    /// Starts a stream. Its owner must follow to the next line when [`Cluster::moves`] says so.
    pub async fn stream(&self, path: &str, first: &Message) -> Result<(u64, Stream), Failure> {
        let line = self.line().await?;
        let call = line.channel.stream(path, first);
        let result = timeout(FIRST_PATIENCE, call).await.unwrap_or(Err(Failure::TimedOut));
        self.judge(line.number, result.as_ref().err());
        Ok((line.number, result?))
    }

    /// Tells of lines given up: those up to the number.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.given_up.subscribe()
    }

    /// The line with this number is of no use any more.
    pub fn give_up(&self, number: u64) {
        self.given_up.send_if_modified(|given_up| {
            let news = *given_up < number;
            *given_up = (*given_up).max(number);
            news
        });
    }

    /// What has been wrong for longer than an operator should not know about it.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.lock_trouble();
        let (since, failure) = trouble.as_ref()?;
        (since.elapsed() >= UNHEALTHY_AFTER).then(|| format!("error getting data from etcd: {failure}"))
    }

    /// The connection of the hour.
    async fn line(&self) -> Result<Line, Failure> {
        let asked = Instant::now();
        let mut current = self.current.lock().await;
        if let Some((at, failure)) = &current.failed
            && *at > asked
        {
            // A round of our own, after all who waited before us, would come to the same.
            return Err(failure.clone());
        }
        if let Some(line) = &current.line {
            if line.number > *self.given_up.borrow() && !line.channel.is_closed() {
                return Ok(line.clone());
            }
            self.give_up(line.number);
        }
        current.line = None;
        let number = *self.given_up.borrow() + 1;
        match self.first_to_answer(number).await {
            Ok(channel) => {
                let made = Line { number, channel };
                current.line = Some(made.clone());
                Ok(made)
            }
            Err(failure) => {
                current.failed = Some((Instant::now(), failure.clone()));
                drop(current);
                self.give_up(number);
                self.note(Some(&failure));
                Err(failure)
            }
        }
    }

    /// The number goes round the members, and each gets its turn: the next when one failed, or is slow.
    async fn first_to_answer(&self, number: u64) -> Result<Channel, Failure> {
        let count = self.endpoints.len();
        let mut waiting = (0..count).map(|turn| &self.endpoints[(number as usize - 1 + turn) % count]);
        let (mut connecting, mut last) = (FuturesUnordered::new(), Failure::TimedOut);
        loop {
            connecting.extend(waiting.next().map(reach));
            tokio::select! {
                biased;
                reached = connecting.next() => match reached {
                    Some(Ok(first)) => return Ok(first),
                    Some(Err(failure)) => last = failure,
                    None => return Err(last),
                },
                () = sleep(HEAD_START), if waiting.len() > 0 => {}
            }
        }
    }

    fn judge(&self, line: u64, failure: Option<&Failure>) {
        let passing = failure.filter(|failure| failure.is_passing());
        if passing.is_some() {
            self.give_up(line);
        }
        self.note(passing);
    }

    fn note(&self, failure: Option<&Failure>) {
        let mut trouble = self.lock_trouble();
        match failure {
            None => *trouble = None,
            Some(failure) => {
                let since = trouble.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                *trouble = Some((since, failure.clone()));
            }
        }
    }

    fn lock_trouble(&self) -> MutexGuard<'_, Option<(Instant, Failure)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection counts once the member has said something: a frozen one's kernel accepts, too.
async fn reach(endpoint: &Endpoint) -> Result<Channel, Failure> {
    let unreachable = |why| Failure::Unreachable { endpoint: endpoint.authority().into(), why };
    let reaching = async {
        let channel = endpoint.connect().await.map_err(unreachable)?;
        match channel.unary(rpc::STATUS, &Message::default()).await {
            // It answers, if only that there is no leader.
            Ok(_) | Err(Failure::Refused { .. }) => Ok(channel),
            Err(failure) => Err(unreachable(failure.to_string())),
        }
    };
    timeout(FIRST_PATIENCE, reaching).await.unwrap_or_else(|_| Err(unreachable("timed out".into())))
}
