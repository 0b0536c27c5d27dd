//! The loop: takes subjects from the queue, decides, carries out, waits behind the fence.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orlop_base::{clock, error};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::carry_out::{Hands, Verdict};
use super::controller::Controller;
use super::fence::Fence;
use super::queue::{Outcome, Queue};
use super::source::Sources;
use super::view::{Failure, Key, View};
use crate::cache::Factory;
use crate::client::Client;
use crate::events::Recorder;

/// How long plans under way may take to end at shutdown: less than from giving up leadership until
/// somebody else may lead ([`super::lease::Terms`], 15 s - 10 s), so that two leaders' plans do not meet.
const DRAIN: Duration = Duration::from_secs(4);

/// A controller at work.
pub struct Running {
    queue: Queue,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// For what wakes a controller besides its sources.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Returns once the controller has ended after shutdown.
    pub async fn ended(self) {
        // A panic of the loop itself has been reported by the runtime's hook.
        let _ = self.task.await;
    }
}

/// Starts `controller`: reads through the factory's caches, writes and records as `writer`.
/// Ends when `shutdown` is cancelled: nothing new is begun, plans under way get to their end.
pub fn start(controller: Controller, factory: &Factory, writer: Client, shutdown: CancellationToken) -> Running {
    let queue = Queue::new(controller.queue);
    let sources = Arc::new(Sources(controller.sources.iter().map(|source| source.open(factory)).collect()));
    let recorder = Recorder::new(writer.clone(), controller.event_source, "", shutdown.clone());
    let slots = Arc::new(Semaphore::new(controller.workers));
    let hands = Hands { client: writer, recorder };
    let engine = Arc::new(Engine { controller, sources, hands, queue: queue.clone(), slots, shutdown });
    let task = orlop_base::task::spawn(run(engine));
    Running { queue, task }
}

struct Engine {
    controller: Controller,
    sources: Arc<Sources>,
    hands: Hands,
    queue: Queue,
    /// Decisions and writes at a time; waiting behind the fence takes no slot.
    slots: Arc<Semaphore>,
    shutdown: CancellationToken,
}

async fn run(engine: Arc<Engine>) {
    let mut subjects = JoinSet::new();
    let work = async {
        for source in &engine.sources.0 {
            source.synced().await;
        }
        let _observers: Vec<_> =
            engine.sources.0.iter().map(|source| source.observe(&engine.sources, &engine.queue)).collect();
        loop {
            let slot = engine.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (key, failure) = loop {
                match engine.queue.take() {
                    Some(next) => break next,
                    None => engine.queue.wait().await,
                }
            };
            while subjects.try_join_next().is_some() {}
            let engine = engine.clone();
            subjects.spawn(orlop_base::task::boxed(async move { engine.subject(key, failure, slot).await }));
        }
    };
    engine.shutdown.run_until_cancelled(work).await;
    let drained = tokio::time::timeout(DRAIN, async { while subjects.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(controller = engine.controller.name, "plans were cut off by shutdown");
    }
}

impl Engine {
    async fn subject(&self, key: Key, failure: Option<Failure>, slot: tokio::sync::OwnedSemaphorePermit) {
        let reported = failure.is_some();
        let run = AssertUnwindSafe(self.decide_and_act(&key, failure)).catch_unwind().await;
        drop(slot);
        let outcome = match run {
            Ok((outcome, fence)) => {
                if !fence.is_empty() {
                    // Nobody decides again after shutdown, and the caches move no more.
                    self.shutdown.run_until_cancelled(fence.passed(&self.sources)).await;
                }
                outcome
            }
            Err(panic) => {
                let what = panic_text(&*panic);
                tracing::error!(controller = self.controller.name, %key, panic = what, "a decision panicked");
                Outcome::Retry
            }
        };
        // The report is made; now the subject waits for its next try.
        let outcome = if reported { Outcome::Retry } else { outcome };
        self.queue.finish(key, outcome);
    }

    async fn decide_and_act(&self, key: &Key, failure: Option<Failure>) -> (Outcome, Fence) {
        let view = self.sources.view().with_failure(failure);
        let view = match self.look(key, view).await {
            Ok(view) => view,
            Err(outcome) => return (outcome, Fence::default()),
        };
        let now = clock::now();
        let plan = (self.controller.decide)(key, &view, now);
        drop(view);
        let (verdict, fence) = self.hands.carry_out(&plan).await;
        let outcome = match verdict {
            Verdict::Done => match plan.retry {
                None => Outcome::Done { wake_at: plan.wake_at.map(|at| Instant::now() + until(now, at)) },
                Some(why) => {
                    tracing::debug!(controller = self.controller.name, %key, why, "nothing could be decided");
                    Outcome::Retry
                }
            },
            Verdict::Moot => Outcome::Done { wake_at: None },
            Verdict::Stale => Outcome::Retry,
            Verdict::Failed(failure) => {
                let Failure { verb, resource, name, message, .. } = &failure;
                tracing::debug!(controller = self.controller.name, %key, verb, resource, name, message, "a plan failed");
                Outcome::Failed(failure)
            }
        };
        (outcome, fence)
    }

    async fn look(&self, key: &Key, view: View) -> Result<View, Outcome> {
        let Some(look) = &self.controller.look else { return Ok(view) };
        look(self.hands.client.clone(), key.clone(), view).await.map_err(|error| {
            tracing::debug!(controller = self.controller.name, %key, error = error::chain(&error), "looking failed");
            Outcome::Retry
        })
    }
}

fn until(now: jiff::Timestamp, at: jiff::Timestamp) -> Duration {
    at.duration_since(now).try_into().unwrap_or_default()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
