//! Events sent to a server elsewhere (`k8s.io/apiserver/plugin/pkg/audit/webhook`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt as _;
use orlop_base::{error, id};
use orlop_client::config::{Choice, Config, ConfigError};
use orlop_client::https::Https;
use orlop_client::transport::{Transport as _, full};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Counters;
use super::event;
use super::options::{Batch, HookOptions, Mode};
use super::throttle::Throttle;

/// Upstream's for all of its webhooks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A batch is tried so often, each wait half as long again as the one before, and up to a fifth more.
const ATTEMPTS: u32 = 5;
const BACKOFF_FACTOR: f64 = 1.5;
const BACKOFF_JITTER: f64 = 0.2;
/// Batches on their way at once. Upstream knows no bound; more than what a burst lets pass would only pile up.
const MAX_SENDING: usize = 15;

pub struct Hook {
    server: Arc<Remote>,
    way: Way,
    counters: Arc<Counters>,
}

enum Way {
    Now,
    Later { queue: Sender<Message>, sender: Mutex<Option<JoinHandle<()>>> },
}

enum Message {
    Event(Bytes),
    End,
}

struct Remote {
    https: Https,
    path: String,
    initial_backoff: Duration,
    /// Bytes of a batch, where that is limited.
    max_batch: Option<usize>,
}

impl Hook {
    pub fn open(options: &HookOptions, counters: Arc<Counters>) -> Result<Self, ConfigError> {
        let mut config = Config::load(Some(&options.config_file), &Choice::default())?;
        // A kubeconfig's server is a prefix of paths; here it is the whole address.
        let path = config.server.split_once("://").and_then(|(_, rest)| Some(rest[rest.find('/')?..].to_owned()));
        let path = path.unwrap_or_else(|| "/".into());
        if path.len() < config.server.len() && path != "/" {
            config.server.truncate(config.server.len() - path.len());
        }
        let truncation = &options.truncation;
        let server = Arc::new(Remote {
            https: Https::new(&config)?,
            path: format!("{path}?timeout={}s", REQUEST_TIMEOUT.as_secs()),
            initial_backoff: options.initial_backoff,
            max_batch: truncation.enabled.then(|| usize::try_from(truncation.max_batch_size).unwrap_or(usize::MAX)),
        });
        let way = if options.mode == Mode::Batch {
            let (queue, events) = channel(usize::try_from(options.batch.buffer_size).unwrap_or(1).max(1));
            let sending = send_batches(events, options.batch.clone(), server.clone(), counters.clone());
            Way::Later { queue, sender: Mutex::new(Some(orlop_base::task::spawn(sending))) }
        } else {
            Way::Now
        };
        Ok(Self { server, way, counters })
    }

    /// Whether the event is there, or will be sent.
    pub async fn process(&self, event: &Bytes) -> bool {
        match &self.way {
            Way::Now => self.server.deliver(vec![event.clone()], &self.counters).await,
            Way::Later { queue, .. } => self.enqueue(queue, event),
        }
    }

    pub fn process_detached(&self, event: &Bytes) {
        match &self.way {
            Way::Later { queue, .. } => {
                self.enqueue(queue, event);
            }
            Way::Now => {
                let (server, counters, event) = (self.server.clone(), self.counters.clone(), event.clone());
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(orlop_base::task::boxed(async move { server.deliver(vec![event], &counters).await }));
                }
            }
        }
    }

    fn enqueue(&self, queue: &Sender<Message>, event: &Bytes) -> bool {
        let sent = queue.try_send(Message::Event(event.clone()));
        if sent.is_err() {
            let why = if queue.is_closed() { "audit backend shut down" } else { "audit buffer queue blocked" };
            self.counters.lost("buffered", 1, &why);
        }
        sent.is_ok()
    }

    /// Waits until everything is sent, or given up.
    pub async fn close(&self) {
        let Way::Later { queue, sender } = &self.way else { return };
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(sender) = sender else { return };
        if queue.send(Message::End).await.is_ok() && sender.await.is_err() {
            tracing::error!("the sender of audit events panicked");
        }
    }
}

/// Gathers events into batches until the end, and waits for those under way.
async fn send_batches(mut events: Receiver<Message>, batch: Batch, server: Arc<Remote>, counters: Arc<Counters>) {
    let mut throttle =
        batch.throttle_enable.then(|| Throttle::new(batch.throttle_qps, batch.throttle_burst.max(1) as u32));
    let mut sending = JoinSet::new();
    let max_size = usize::try_from(batch.max_size).unwrap_or(1).max(1);
    let mut over = false;
    while !over {
        let Some(Message::Event(first)) = events.recv().await else { break };
        let (gathered, last) = gather(&mut events, first, max_size, batch.max_wait).await;
        over = last;
        if let Some(throttle) = &mut throttle {
            throttle.take().await;
        }
        if sending.len() >= MAX_SENDING {
            sending.join_next().await;
        }
        let (server, counters) = (server.clone(), counters.clone());
        sending.spawn(orlop_base::task::boxed(async move {
            server.deliver(gathered, &counters).await;
        }));
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

/// The first event and what follows it soon; whether that was the last.
async fn gather(
    events: &mut Receiver<Message>,
    first: Bytes,
    max_size: usize,
    max_wait: Duration,
) -> (Vec<Bytes>, bool) {
    let due = Instant::now() + max_wait;
    let mut gathered = vec![first];
    while gathered.len() < max_size {
        match timeout_at(due, events.recv()).await {
            Ok(Some(Message::Event(event))) => gathered.push(event),
            Ok(Some(Message::End) | None) => return (gathered, true),
            Err(_) => break,
        }
    }
    (gathered, false)
}

impl Remote {
    /// Sends a batch, in parts where it is too large for one.
    async fn deliver(&self, events: Vec<Bytes>, counters: &Counters) -> bool {
        let mut all = true;
        for part in parts(&events, self.max_batch) {
            if let Err(why) = self.send(part).await {
                counters.lost("webhook", part.len(), &why);
                all = false;
            }
        }
        all
    }

    async fn send(&self, events: &[Bytes]) -> Result<(), String> {
        let body = Bytes::from(event::list(events));
        let mut wait = self.initial_backoff;
        for attempt in 1.. {
            match self.post(body.clone()).await {
                Err(why) if attempt == ATTEMPTS => return Err(why),
                Err(why) => tracing::warn!(why, "sending audit events failed, trying again"),
                Ok(()) => break,
            }
            sleep(wait.mul_f64(1.0 + BACKOFF_JITTER * id::fraction())).await;
            wait = wait.mul_f64(BACKOFF_FACTOR);
        }
        Ok(())
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        let request = Request::post(self.path.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::CONTENT_LENGTH, body.len())
            .body(full(body))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.https.send(request).await.map_err(|error| error::chain(&*error))?;
            let code = response.status();
            // Read to its end, so that the connection can be used again; what it says matters to nobody.
            response.into_body().collect().await.map_err(|error| error::chain(&*error))?;
            if code.is_success() { Ok(()) } else { Err(format!("the server answered {code}")) }
        };
        timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| "context deadline exceeded".to_owned())?
    }
}

/// Runs of events of at most so many bytes together; one event is never divided.
fn parts(events: &[Bytes], max_bytes: Option<usize>) -> Vec<&[Bytes]> {
    let limit = max_bytes.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0_usize);
    for (i, event) in events.iter().enumerate() {
        if i > start && bytes.saturating_add(event.len()) > limit {
            parts.push(&events[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes = bytes.saturating_add(event.len());
    }
    parts.push(&events[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_divided_at_their_limit() {
        let events: Vec<Bytes> = [3, 3, 9, 1, 1].iter().map(|n| Bytes::from(vec![0; *n])).collect();
        let sizes = |limit| parts(&events, limit).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(sizes(None), [5]);
        assert_eq!(sizes(Some(6)), [2, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_leaves_when_it_is_full_or_old() {
        let (queue, mut events) = channel(8);
        for n in 0..3_u8 {
            assert!(queue.send(Message::Event(Bytes::from(vec![n]))).await.is_ok());
        }
        let wait = Duration::from_secs(30);
        let (full, over) = gather(&mut events, Bytes::new(), 3, wait).await;
        assert_eq!((full.len(), over), (3, false));
        let start = Instant::now();
        let (old, over) = gather(&mut events, Bytes::new(), 3, wait).await;
        assert_eq!((old.len(), over, start.elapsed()), (2, false, wait));
        assert!(queue.send(Message::End).await.is_ok());
        assert_eq!(gather(&mut events, Bytes::new(), 3, wait).await.0.len(), 1);
    }
}
