//! The course of a request: where its time goes, and the steps of its trace. Its audit record tells when it was slow,
//! and what others took is not held against us (`k8s.io/apiserver/pkg/endpoints/request/webhook_duration.go`).
//!
//! Known to the task that serves the request. Watches are not looked at.

mod sending;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::Either;
use tokio::time::Instant;

use crate::request::RequestInfo;
use crate::resource::Resource;
use crate::trace::{Active, Attribute, Kind, Onward, Span, SpanContext, Value};
pub use sending::Sending;

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
    /// Of what the store has: here, where it has to be looked into.
    Decoding,
    Transformation,
    Serialization,
}

const NAMES: [&str; 10] = [
    "authentication",
    "impersonation",
    "apf-queue-wait",
    "authorization",
    "mutating-webhook",
    "validating-webhook",
    "etcd",
    "decode-response-object",
    "transform-response-object",
    "serialize-response-object",
];

/// What is known of a request's course.
pub struct Observed {
    /// Whether time is counted: a watch's is not.
    counted: bool,
    /// Nanoseconds in each layer.
    spent: [AtomicU64; NAMES.len()],
    trace: OnceLock<Active>,
    /// What other servers are told of the trace.
    onward: OnceLock<Onward>,
}

impl Observed {
    pub fn new(request: &RequestInfo) -> Arc<Self> {
        let spent = Default::default();
        let counted = request.verb != "watch";
        Arc::new(Self { counted, spent, trace: OnceLock::new(), onward: OnceLock::new() })
    }

    /// Steps from now on belong to this trace.
    pub fn trace(&self, (onward, active): (Onward, Option<Active>)) {
        let _ = self.onward.set(onward);
        active.into_iter().for_each(|active| drop(self.trace.set(active)));
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
        layers.into_iter().map(|layer| self.spent(layer)).sum()
    }

    fn spent(&self, layer: Layer) -> Duration {
        Duration::from_nanos(self.spent[layer as usize].load(Ordering::Relaxed))
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

/// Counts the time of `work`, which waits for nothing.
pub fn counted<T>(layer: Layer, work: impl FnOnce() -> T) -> T {
    let Ok(observed) = REQUEST.try_with(Clone::clone) else { return work() };
    let start = Instant::now();
    let done = work();
    observed.note(layer, start.elapsed());
    done
}

/// Counts the time of work on the store, which is a step of the trace. `key` is empty where many objects are meant.
pub async fn in_store<T>(
    name: &'static str,
    resource: &Resource,
    key: Option<&orlop_store::Key>,
    work: impl Future<Output = T>,
) -> T {
    let attributes = || {
        let names = resource.group_resource();
        let text = |text: &str| Value::Text(text.to_owned());
        let key = key.map(|key| ("key", Value::Text(key.path())));
        let package = names.group.split('.').next().filter(|first| !first.is_empty()).unwrap_or("core");
        let kind = ("type", Value::Text(format!("*{package}.{}", resource.info().kind)));
        [("group", text(names.group)), ("resource", text(names.resource)), kind].into_iter().chain(key).collect()
    };
    timed(Layer::Storage, step(name, attributes, work)).await
}

/// Reading from memory, upstream's cache, is a step of the trace.
pub fn in_cache<F: Future>(name: &'static str, resource: &Resource, work: F) -> impl Future<Output = F::Output> {
    step(name, move || vec![("type", Value::Text(resource.group_resource().to_string()))], work)
}

/// Serializes an answer. Another shape may be made of it on the way, whose time counts for itself.
pub fn serialized<T>(attributes: impl FnOnce() -> Vec<Attribute>, work: impl FnOnce() -> T) -> T {
    let Ok(observed) = REQUEST.try_with(Clone::clone) else { return work() };
    let (start, reshaped) = (Instant::now(), observed.spent(Layer::Transformation));
    let place = Place::of(&observed, "SerializeObject", Kind::Internal, attributes);
    let done = match &place {
        Some(place) => STEP.sync_scope(place.context(), work),
        None => work(),
    };
    place.into_iter().for_each(Place::end);
    let reshaped = observed.spent(Layer::Transformation).saturating_sub(reshaped);
    observed.note(Layer::Serialization, start.elapsed().saturating_sub(reshaped));
    done
}

/// `work` is a step of the request's trace, if it has one; only then are its attributes made.
pub fn step<F: Future>(
    name: &'static str,
    attributes: impl FnOnce() -> Vec<Attribute>,
    work: F,
) -> impl Future<Output = F::Output> {
    let place = REQUEST.try_with(|observed| Place::of(observed, name, Kind::Internal, attributes)).ok().flatten();
    match place {
        None => Either::Left(work),
        Some(place) => Either::Right(async move {
            let done = STEP.scope(place.context(), work).await;
            place.end();
            done
        }),
    }
}

/// A step that has begun.
struct Place {
    active: Active,
    span: Span,
}

impl Place {
    /// Each of ours names the request's record, as upstream's do.
    fn of(
        observed: &Observed,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        attributes: impl FnOnce() -> Vec<Attribute>,
    ) -> Option<Self> {
        let active = observed.active()?.clone();
        let parent = STEP.try_with(|step| *step).unwrap_or_else(|_| active.context());
        let mut span = active.within(parent, name.into(), kind);
        span.attributes = attributes();
        if kind == Kind::Internal {
            span.attributes.push(active.audit_id());
        }
        Some(Self { active, span })
    }

    fn context(&self) -> SpanContext {
        self.span.context
    }

    fn add(&mut self, name: &'static str, value: Value) {
        self.span.attributes.push((name, value));
    }

    fn fail(&mut self) {
        self.span.failed = true;
    }

    fn end(self) {
        self.active.finish(self.span);
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

    #[tokio::test]
    async fn another_shape_is_no_serialization() {
        let observed = Observed::new(&RequestInfo::parse(&http::Method::GET, "/api/v1/pods"));
        let reshape = || observed.note(Layer::Transformation, Duration::from_hours(1));
        request(observed.clone(), async { serialized(Vec::new, reshape) }).await;
        assert_eq!(observed.spent(Layer::Serialization), Duration::ZERO);
        counted(Layer::Decoding, || ());
        assert_eq!(observed.spent(Layer::Decoding), Duration::ZERO, "of no request");
    }
}
