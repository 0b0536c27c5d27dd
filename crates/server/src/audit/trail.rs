//! What is noted of one request on its way, and the events made of it (`k8s.io/apiserver/pkg/audit/context.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http::header::{HeaderMap, USER_AGENT};
use http::request::Parts;
use jiff::Timestamp;
use orlop_api::status::StatusError;
use orlop_api::{Value, codec, meta};
use orlop_base::clock;
use orlop_client::transport::UserInfo;

use super::event::{Event, ObjectReference, Status};
use super::policy::{Level, Stage, Verdict};
use super::{Audit, LevelLabel};
use crate::auth::{Decision, Peer};
use crate::observe::Observed;
use crate::request::RequestInfo;

/// Longer user agents are cut.
const MAX_USER_AGENT: usize = 1024;

/// Travels with a request; empty where nothing is recorded. The last holder to let go completes the record.
#[derive(Clone, Default)]
pub struct Trail(Option<Arc<Record>>);

struct Record {
    audit: Arc<Audit>,
    audit_id: Arc<str>,
    received: Timestamp,
    /// Set once it is known who asks.
    begun: OnceLock<Begun>,
    notes: Mutex<Notes>,
    completed: AtomicBool,
    /// Where the request's time goes.
    observed: Arc<Observed>,
}

struct Begun {
    verdict: Verdict,
    /// None where authentication failed.
    user: Option<Arc<UserInfo>>,
    request: RequestInfo,
    request_uri: String,
    user_agent: String,
    source_ips: Vec<IpAddr>,
}

#[derive(Default)]
struct Notes {
    impersonated: Option<Arc<UserInfo>>,
    /// The verb that it was allowed by, if not the old one for everything.
    impersonation_constraint: &'static str,
    /// What the sent object adds to what the path says.
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
    status: Option<Status>,
    request_object: Option<Bytes>,
    response_object: Option<Bytes>,
    annotations: BTreeMap<String, String>,
}

impl Trail {
    pub(crate) fn new(audit: Option<&Arc<Audit>>, audit_id: &Arc<str>, observed: &Arc<Observed>) -> Self {
        Self(audit.map(|audit| {
            Arc::new(Record {
                audit: audit.clone(),
                audit_id: audit_id.clone(),
                received: clock::now(),
                begun: OnceLock::new(),
                notes: Mutex::default(),
                completed: AtomicBool::new(false),
                observed: observed.clone(),
            })
        }))
    }

    /// Puts itself where those find it who take a request's connection over.
    pub(crate) fn accompany(&self, head: &mut Parts) {
        if self.0.is_some() {
            head.extensions.insert(self.clone());
        }
    }

    /// The request is there, and so is its caller. False where a sink is strict and could not take the event.
    pub(crate) async fn begin(&self, head: &Parts, request: &RequestInfo, user: &Arc<UserInfo>) -> bool {
        let Some(record) = &self.0 else { return true };
        record.begin(head, request, Some(user));
        let stored = record.reach(Stage::RequestReceived).await;
        if !stored {
            record.audit.counters.rejected.inc();
            record.completed.store(true, Ordering::Relaxed);
        }
        stored
    }

    /// The request is there, but who sent it could not be found out: all that is recorded is its answer.
    pub(crate) fn unidentified(&self, head: &Parts, request: &RequestInfo) {
        if let Some(record) = &self.0 {
            record.begin(head, request, None);
        }
    }

    pub(crate) fn is_identified(&self) -> bool {
        self.begun().is_some_and(|(_, begun)| begun.user.is_some())
    }

    /// How much is recorded.
    pub fn level(&self) -> Level {
        self.begun().map_or(Level::None, |(_, begun)| begun.verdict.level)
    }

    fn begun(&self) -> Option<(&Record, &Begun)> {
        let record = self.0.as_deref()?;
        Some((record, record.begun.get()?))
    }

    /// The record and what is noted, if there is anything to note for.
    fn noting(&self, least: Level) -> Option<(&Begun, MutexGuard<'_, Notes>)> {
        let (record, begun) = self.begun()?;
        (begun.verdict.level >= least.max(Level::Metadata)).then(|| (begun, record.notes()))
    }

    pub(crate) fn impersonated(&self, user: &Arc<UserInfo>, constraint: &'static str) {
        if let Some((_, mut notes)) = self.noting(Level::Metadata) {
            notes.impersonated = Some(user.clone());
            notes.impersonation_constraint = constraint;
        }
    }

    pub(crate) fn decided(&self, decision: &Decision) {
        let (word, reason) = match decision {
            Decision::Allow { reason } => ("allow", &**reason),
            Decision::Deny { reason } | Decision::NoOpinion { reason } => ("forbid", &**reason),
            Decision::Failed { .. } => ("", "internal error"),
        };
        if let Some((_, mut notes)) = self.noting(Level::Metadata) {
            if !word.is_empty() {
                notes.annotate("authorization.k8s.io/decision", word);
            }
            notes.annotate("authorization.k8s.io/reason", reason);
        }
    }

    /// The first value given to a key stays.
    pub fn annotate(&self, key: &str, value: &str) {
        self.annotate_at(Level::Metadata, key, value);
    }

    /// An annotation for records of this level and above.
    pub fn annotate_at(&self, level: Level, key: &str, value: &str) {
        if let Some((_, mut notes)) = self.noting(level) {
            notes.annotate(key, value);
        }
    }

    /// The warning of a version that is on its way out; it may say when it went
    /// (`unavailable in v1.22+`).
    pub(crate) fn deprecated(&self, warning: &str) {
        self.annotate("k8s.io/deprecated", "true");
        if let Some((_, rest)) = warning.split_once("unavailable in v") {
            let release: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            self.annotate("k8s.io/removed-release", &release);
        }
    }

    /// The object that was sent, in the request's version.
    pub(crate) fn request_object(&self, object: &Value) {
        let Some((begun, mut notes)) = self.noting(Level::Metadata) else { return };
        meta::namespace(object).clone_into(&mut notes.namespace);
        meta::name(object).clone_into(&mut notes.name);
        meta::uid(object).clone_into(&mut notes.uid);
        meta::resource_version(object).clone_into(&mut notes.resource_version);
        if begun.verdict.level >= Level::Request {
            notes.request_object = Some(encode(object, begun.verdict.omit_managed_fields));
        }
    }

    /// Options of a deletion, or a patch: nothing that names an object.
    pub(crate) fn request_body(&self, body: &Value) {
        if let Some((_, mut notes)) = self.noting(Level::Request) {
            notes.request_object = Some(codec::json::encode(body).into());
        }
    }

    pub(super) fn answer_object(&self, object: &Value) {
        if let Some((begun, mut notes)) = self.noting(Level::RequestResponse) {
            notes.response_object = Some(encode(object, begun.verdict.omit_managed_fields));
        }
    }

    pub(super) fn has_answer_object(&self) -> bool {
        self.noting(Level::RequestResponse).is_some_and(|(_, notes)| notes.response_object.is_some())
    }

    pub(super) fn answer_status(&self, status: Status) {
        if let Some((_, mut notes)) = self.noting(Level::Metadata) {
            notes.status = Some(status);
        }
    }

    pub(super) fn answer_code(&self, code: u16) {
        if let Some((_, mut notes)) = self.noting(Level::Metadata) {
            notes.status.get_or_insert_default().code = code;
        }
    }

    pub(super) async fn started(&self) {
        if let Some(record) = &self.0 {
            record.reach(Stage::ResponseStarted).await;
        }
    }

    pub(super) async fn complete(&self) {
        if let Some(record) = self.0.as_ref().filter(|record| !record.completed.swap(true, Ordering::Relaxed)) {
            record.reach(Stage::ResponseComplete).await;
        }
    }

    /// Nothing more is to come of this request.
    pub(super) fn end(&self) {
        if let Some(record) = &self.0 {
            record.completed.store(true, Ordering::Relaxed);
        }
    }

    /// A handler panicked; that is the end of its record.
    pub(crate) async fn panicked(&self, why: &str) {
        let Some(record) = &self.0 else { return };
        let error = StatusError::new(500, "InternalError", format!("APIServer panic'd: {why}"));
        self.answer_status(Status::of(&error));
        if !record.completed.swap(true, Ordering::Relaxed) {
            record.reach(Stage::Panic).await;
        }
    }
}

impl Notes {
    fn annotate(&mut self, key: &str, value: &str) {
        match self.annotations.get(key) {
            Some(old) if old != value => tracing::warn!(key, value, old, "an audit annotation is already set"),
            Some(_) => {}
            None => drop(self.annotations.insert(key.to_owned(), value.to_owned())),
        }
    }
}

impl Record {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, head: &Parts, request: &RequestInfo, user: Option<&Arc<UserInfo>>) {
        let verdict = match user {
            Some(user) => self.audit.policy.judge(user, request),
            None => self.audit.policy.judge(&UserInfo::default(), request),
        };
        self.audit.counters.levels.get_or_create(&LevelLabel { level: verdict.level.name() }).inc();
        // An unrecorded request costs no copies.
        let recorded = verdict.level > Level::None;
        let begun = Begun {
            verdict,
            user: user.cloned(),
            request: if recorded { request.clone() } else { RequestInfo::default() },
            request_uri: if recorded { request_uri(head) } else { String::new() },
            user_agent: if recorded { user_agent(&head.headers) } else { String::new() },
            source_ips: if recorded { source_ips(head) } else { Vec::new() },
        };
        // A request begins once.
        let _ = self.begun.set(begun);
    }

    async fn reach(&self, stage: Stage) -> bool {
        let Some(begun) = self.begun.get().filter(|begun| begun.records(stage)) else { return true };
        let mut notes = std::mem::take(&mut *self.notes());
        if stage == Stage::ResponseComplete {
            self.explain_slowness(&mut notes);
        }
        let stored = self.audit.process(&self.event(begun, &notes, stage)).await;
        *self.notes() = notes;
        stored
    }

    fn explain_slowness(&self, notes: &mut Notes) {
        let total = clock::now().duration_since(self.received).unsigned_abs();
        self.observed.annotations(total).iter().for_each(|(key, value)| notes.annotate(key, value));
    }

    fn event<'a>(&'a self, begun: &'a Begun, notes: &'a Notes, stage: Stage) -> Event<'a> {
        let Begun { request, .. } = begun;
        Event {
            level: begun.verdict.level,
            audit_id: &self.audit_id,
            stage,
            request_uri: &begun.request_uri,
            verb: &request.verb,
            user: begun.user.as_deref(),
            impersonated: notes.impersonated.as_deref(),
            impersonation_constraint: notes.impersonation_constraint,
            source_ips: &begun.source_ips,
            user_agent: &begun.user_agent,
            object: request.is_resource.then(|| reference(request, notes)),
            status: notes.status.as_ref(),
            request_object: notes.request_object.as_deref(),
            response_object: notes.response_object.as_deref(),
            received: self.received,
            stage_time: if stage == Stage::RequestReceived { self.received } else { clock::now() },
            annotations: &notes.annotations,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(begun) = self.begun.get().filter(|begun| begun.records(Stage::ResponseComplete)) else { return };
        if !self.completed.load(Ordering::Relaxed) {
            let mut notes = std::mem::take(&mut *self.notes());
            self.explain_slowness(&mut notes);
            self.audit.process_detached(&self.event(begun, &notes, Stage::ResponseComplete));
        }
    }
}

impl Begun {
    fn records(&self, stage: Stage) -> bool {
        self.verdict.level > Level::None && !self.verdict.omits(stage)
    }
}

fn reference<'a>(request: &'a RequestInfo, notes: &'a Notes) -> ObjectReference<'a> {
    let or = |path: &'a str, object: &'a str| if path.is_empty() { object } else { path };
    ObjectReference {
        resource: &request.resource,
        namespace: or(&request.namespace, &notes.namespace),
        name: or(&request.name, &notes.name),
        uid: &notes.uid,
        api_group: &request.api_group,
        api_version: &request.api_version,
        resource_version: &notes.resource_version,
        subresource: &request.subresource,
    }
}

/// JSON of an object or a list, with or without who set which field.
fn encode(object: &Value, omit_managed_fields: bool) -> Bytes {
    if !omit_managed_fields {
        return codec::json::encode(object).into();
    }
    let mut object = object.clone();
    meta::remove(&mut object, "managedFields");
    for list in ["items", "rows"] {
        for item in object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let item = if list == "rows" { item.get_mut("object") } else { Some(item) };
            item.into_iter().filter(|item| item.is_object()).for_each(|item| meta::remove(item, "managedFields"));
        }
    }
    codec::json::encode(&object).into()
}

fn request_uri(head: &Parts) -> String {
    head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned()
}

fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
    match agent.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_USER_AGENT).last() {
        Some(end) if end < agent.len() => format!("{}...TRUNCATED", &agent[..end]),
        _ => agent.into_owned(),
    }
}

/// Whom the request came from and through, the nearest last (`apimachinery/pkg/util/net`, `SourceIPs`).
pub(crate) fn source_ips(head: &Parts) -> Vec<IpAddr> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ips: Vec<IpAddr> = text("x-forwarded-for").split(',').filter_map(|ip| ip.trim().parse().ok()).collect();
    if let Some(ip) = text("x-real-ip").parse().ok().filter(|ip| !ips.contains(ip)) {
        ips.push(ip);
    }
    let peer = head.extensions.get::<Peer>();
    let local = peer.filter(|peer| peer.component.is_some()).map(|_| IpAddr::from([127, 0, 0, 1]));
    if let Some(ip) = peer.and_then(|peer| Some(peer.address?.ip().to_canonical())).or(local)
        && ips.last() != Some(&ip)
    {
        ips.push(ip);
    }
    ips
}

impl Status {
    pub(super) fn of(error: &StatusError) -> Self {
        Self {
            status: "Failure".into(),
            message: error.message.clone(),
            reason: error.reason.clone(),
            details: error.details.as_deref().cloned(),
            code: error.code,
        }
    }
}
