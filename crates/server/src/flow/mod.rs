//! API Priority and Fairness: who is served when not everybody can be (KEP 1040,
//! `k8s.io/apiserver/pkg/util/flowcontrol`).
//!
//! A request's first matching FlowSchema names its [`level`]. As long as the level has seats free, taking them is
//! an atomic operation or two. Only where it has none are there [`queues`]: each flow has a few of them to choose
//! from, and they take turns by the work they have had. Levels [`borrow`] each other's free seats.

mod asked;
mod borrow;
mod debug;
mod demand;
mod level;
pub mod metrics;
mod plan;
mod queues;
mod schema;
mod settings;
mod timing;
mod usage;
mod width;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use orlop_api::status::StatusError;
use orlop_client::transport::{Body, UserInfo};
use orlop_store::{Snapshot, Store};
use tokio::time::Instant;

use crate::request::RequestInfo;
use asked::Asked;
pub use level::Seats;
use plan::Plan;
pub use width::{WatchGuard, Watchers};

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

pub struct Flow {
    plan: ArcSwap<Plan>,
    /// Seats of all levels together.
    total: usize,
    pub watchers: Watchers,
    /// Periods of demand are counted from here.
    start: Instant,
    /// Somebody looks after borrowing: there is a rush, or was a moment ago.
    lending: AtomicBool,
}

/// Whose turn a request was, for its answer.
#[derive(Clone)]
pub struct Marks {
    schema: HeaderValue,
    level: HeaderValue,
}

impl Marks {
    pub fn add(self, headers: &mut HeaderMap) {
        headers.insert(SCHEMA_UID, self.schema);
        headers.insert(LEVEL_UID, self.level);
    }
}

impl Flow {
    pub fn new(total: usize, snapshot: &Snapshot) -> Arc<Self> {
        let start = Instant::now();
        let plan = Plan::read(snapshot, None, total, start);
        Arc::new(Self {
            plan: ArcSwap::from_pointee(plan),
            total,
            watchers: Watchers::default(),
            start,
            lending: AtomicBool::new(false),
        })
    }

    /// A request's seats, at once or when it is its turn; 429 when there is no room to wait or no end to it.
    pub async fn enter(
        self: &Arc<Self>,
        user: &Arc<UserInfo>,
        info: &Arc<RequestInfo>,
        store: &Store,
        patience: Duration,
    ) -> Result<(Seats, Marks), StatusError> {
        let plan = self.plan.load();
        let schema = plan.classify(user, info);
        let level = schema.level.clone();
        let tally = schema.tally(info).clone();
        let width = width::estimate(info, store, &self.watchers, &tally, level.max_width());
        tally.estimated(width.most());
        let marks = Marks { schema: schema.uid.clone(), level: level.uid() };
        let asked = Asked {
            user: user.clone(),
            info: info.clone(),
            tally,
            distinguisher: schema.distinguisher,
            width,
            arrived: Instant::now(),
        };
        let asked = match level.try_enter(asked) {
            Ok(seats) => return Ok((seats, marks)),
            Err(asked) => asked,
        };
        let flow = schema.flow(user, info);
        drop(plan);
        self.lend();
        match level.wait(flow, asked, patience).await {
            Some(seats) => Ok((seats, marks)),
            None => Err(StatusError::too_many_requests("Too many requests, please try again later.", 1)),
        }
    }

    /// Sees to it, while there is a rush, that seats go where they are needed.
    fn lend(self: &Arc<Self>) {
        if self.lending.swap(true, Ordering::Relaxed) {
            return;
        }
        let flow = self.clone();
        orlop_base::task::spawn(async move {
            loop {
                tokio::time::sleep_until(demand::next_end(flow.start, Instant::now())).await;
                if borrow::adjust(&flow.plan.load().levels()) {
                    break;
                }
            }
            flow.lending.store(false, Ordering::Relaxed);
        });
    }

    /// Keeps to what the cluster's objects say, for as long as it is polled.
    pub async fn follow(&self, store: &Store) {
        let after = store.revision();
        let (Ok(mut schemas), Ok(mut levels)) =
            (store.watch(plan::SCHEMAS, None, after), store.watch(plan::LEVELS, None, after))
        else {
            return;
        };
        loop {
            self.reread(store);
            let changed = tokio::select! {
                changed = schemas.next() => changed,
                changed = levels.next() => changed,
            };
            if let Err(error) = changed {
                tracing::debug!(%error, "flow control's objects are not followed any more");
                return;
            }
        }
    }

    pub fn reread(&self, store: &Store) {
        let before = self.plan.load();
        self.plan.store(Arc::new(Plan::read(&store.snapshot(), Some(&**before), self.total, self.start)));
    }

    /// `/debug/api_priority_and_fairness/...`
    pub fn dump(&self, info: &RequestInfo) -> Option<Response<Body>> {
        debug::serve(&self.plan.load(), info)
    }

    pub(crate) fn wishes(&self) -> (Vec<borrow::Wish>, f64) {
        borrow::wishes(&self.plan.load().levels())
    }

    pub(crate) fn describe(&self) -> Vec<level::Figures> {
        self.plan.load().levels().iter().map(|level| level.figures()).collect()
    }
}
