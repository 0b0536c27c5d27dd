//! The course of a request: where its time goes, and the steps of its trace. Its audit record tells when it was slow, and what others took is not held against
//! us (`k8s.io/apiserver/pkg/endpoints/request/webhook_duration.go`).
//!
//! Known to the task that serves the request. Watches are not looked at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::Either;
use tokio::time::Instant;

use crate::request::RequestInfo;
use crate::trace::{self, Active, SpanContext};

tokio::task_local! {
    static REQUEST: Arc<Observed>;
    /// The step that is under way.
    static STEP: SpanContext;
}

/// A request that took longer tells where.
const SLOW: Duration = Duration::from_millis(500);

const PREFIX: &str = "apiserver.latency.k8s.io/";

/// Where time is spent, as annotations name it.
#[derive(Clone, Copy, Debug)]
pub enum Layer {
    Authentication,
    Impersonation,
    QueueWait,
    Authorization,
    MutatingWebhook,
    ValidatingWebhook,
    Storage,
    Serialization,
}

const NAMES: [&str; 8] = [
    "authentication",
    "impersonation",
    "apf-queue-wait",
    "authorization",
    "mutating-webhook",
    "validating-webhook",
    "etcd",
    "serialize-response-object",
];

/// What is known of a request's course.
pub struct Observed {
    /// Whether time is counted: a watch's is not.
    counted: bool,
    /// Nanoseconds in each layer.
    spent: [AtomicU64; NAMES.len()],
    trace: OnceLock<Active>,
}

impl Observed {
    pub fn new(request: &RequestInfo) -> Arc<Self> {
        let spent = Default::default();
        Arc::new(Self { counted: request.verb != "watch", spent, trace: OnceLock::new() })
    }

    /// Steps from now on belong to this trace.
    pub fn trace(&self, active: Active) {
        let _ = self.trace.set(active);
    }

    pub fn active(&self) -> Option<&Active> {
        self.trace.get()
    }

    pub fn is_counted(&self) -> bool {
        self.counted
    }

    fn note(&self, layer: Layer, took: Duration) {
        let nanos = took.as_nanos() as u64;
        let spent = &self.spent[layer as usize];
        match layer {
            // These may run beside each other.
            Layer::ValidatingWebhook | Layer::Authorization => spent.fetch_max(nanos, Ordering::Relaxed),
            _ => spent.fetch_add(nanos, Ordering::Relaxed),
        };
    }

    /// What webhooks took, and waiting for others.
    pub fn foreign(&self) -> Duration {
        let layers = [Layer::MutatingWebhook, Layer::ValidatingWebhook, Layer::QueueWait];
        Duration::from_nanos(layers.iter().map(|layer| self.spent[*layer as usize].load(Ordering::Relaxed)).sum())
    }

    /// What the record of a request says that took this long.
    pub fn annotations(&self, total: Duration) -> Vec<(String, String)> {
        if total <= SLOW || !self.counted {
            return Vec::new();
        }
        let text = |nanos: u64| orlop_base::duration::format(i64::try_from(nanos).unwrap_or(i64::MAX));
        let spent = NAMES.iter().zip(&self.spent).map(|(name, nanos)| (*name, nanos.load(Ordering::Relaxed)));
        let spent = spent.filter(|(_, nanos)| *nanos > 0);
        let all = spent.chain([("total", total.as_nanos() as u64)]);
        all.map(|(name, nanos)| (format!("{PREFIX}{name}"), text(nanos))).collect()
    }
}

/// `work` is what serves the request.
pub fn request<F: Future>(observed: Arc<Observed>, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(observed, work)
}

/// `work` belongs to the request that this task serves, also on another task.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let work = match STEP.try_with(|step| *step) {
        Ok(step) => Either::Left(STEP.scope(step, work)),
        Err(_) => Either::Right(work),
    };
    match REQUEST.try_with(Clone::clone) {
        Ok(observed) => Either::Left(REQUEST.scope(observed, work)),
        Err(_) => Either::Right(work),
    }
}

/// Counts the time of `work`.
pub async fn timed<T>(layer: Layer, work: impl Future<Output = T>) -> T {
    let Ok(observed) = REQUEST.try_with(Clone::clone) else { return work.await };
    let start = Instant::now();
    let done = work.await;
    observed.note(layer, start.elapsed());
    done
}

/// Counts the time of work on the store, which is a step of the trace.
pub async fn in_store<T>(step_name: &'static str, work: impl Future<Output = T>) -> T {
    timed(Layer::Storage, step(step_name, work)).await
}

/// Serializes an answer.
pub fn serialized<T>(work: impl FnOnce() -> T) -> T {
    let Ok(observed) = REQUEST.try_with(Clone::clone) else { return work() };
    let start = Instant::now();
    let place = Place::of(&observed);
    let done = match &place {
        Some(place) => STEP.sync_scope(place.context, work),
        None => work(),
    };
    place.into_iter().for_each(|place| place.end("SerializeObject"));
    observed.note(Layer::Serialization, start.elapsed());
    done
}

/// `work` is a step of the request's trace, if it has one.
pub fn step<F: Future>(name: &'static str, work: F) -> impl Future<Output = F::Output> {
    let place = REQUEST.try_with(|observed| Place::of(observed)).ok().flatten();
    match place {
        None => Either::Left(work),
        Some(place) => Either::Right(async move {
            let done = STEP.scope(place.context, work).await;
            place.end(name);
            done
        }),
    }
}

/// A step that has begun.
struct Place {
    active: Active,
    parent: SpanContext,
    context: SpanContext,
    start: u64,
}

impl Place {
    fn of(observed: &Observed) -> Option<Self> {
        let active = observed.active()?.clone();
        let parent = STEP.try_with(|step| *step).unwrap_or_else(|_| active.context());
        Some(Self { context: active.within(parent), start: trace::now(), parent, active })
    }

    fn end(self, name: &'static str) {
        self.active.step(self.parent, self.context, name, self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_requests_tell_where_their_time_went() {
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/pods");
        let latencies = Observed::new(&info);
        let sleep = |millis| tokio::time::sleep(Duration::from_millis(millis));
        let work = async {
            timed(Layer::Storage, sleep(200)).await;
            let elsewhere = tokio::spawn(carried(timed(Layer::Storage, sleep(100))));
            elsewhere.await.expect("done");
            timed(Layer::Authorization, sleep(20)).await;
            timed(Layer::Authorization, sleep(10)).await;
        };
        request(latencies.clone(), work).await;
        assert_eq!(latencies.annotations(SLOW), []);
        let annotation = |name: &str, value: &str| (format!("apiserver.latency.k8s.io/{name}"), value.to_owned());
        assert_eq!(
            latencies.annotations(Duration::from_millis(600)),
            [annotation("authorization", "20ms"), annotation("etcd", "300ms"), annotation("total", "600ms")]
        );
        timed(Layer::Storage, async {}).await;
    }
}
