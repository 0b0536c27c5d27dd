//! Turns a plan into requests, one subject's at a time.

use std::time::Duration;

use bytes::Bytes;
use orlop_base::backoff::Backoff;
use orlop_base::{error, id};

use super::fence::{Fence, Until};
use super::plan::{Action, Alive, Note, Plan, Step, Write};
use super::view::Failure;
use crate::cache::key_of;
use crate::client::{Client, jitter};
use crate::error::{Error, Result};
use crate::events::Recorder;
use crate::json;
use crate::object::{Dynamic, Object};
use crate::params::{DeleteOptions, ListOptions, WriteOptions};

/// How often a write whose fate is unknown is repeated before the fence asks the server instead.
const MAX_REPEATS: u32 = 3;
const REPEAT_BACKOFF: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(2) };

/// How often a made-up name may be taken already.
const MAX_NAMES: u32 = 8;

/// One subject's writes under way: well below what a server takes from everybody together (upstream
/// refuses more than 200 writes in flight).
const MAX_AT_ONCE: usize = 50;

/// client-go's slow start.
const FIRST_BATCH: usize = 1;

/// What came of a plan.
pub(super) enum Verdict {
    Done,
    /// The view was stale (conflict, gone): decide anew once the fence has passed.
    Stale,
    /// Nothing can be created in a namespace that is going away, and nothing need be.
    Moot,
    Failed(Failure),
}

pub(super) struct Hands {
    pub client: Client,
    pub recorder: Recorder,
}

/// The effect of one write.
enum Effect {
    /// `name`: of the object written; `None` when it was gone already, which is nothing to tell.
    Done {
        name: Option<String>,
        until: Option<Until>,
    },
    Stale(Option<Until>),
    Moot,
    Failed {
        failure: Failure,
        until: Option<Until>,
    },
}

impl Hands {
    /// Carries out `plan` up to its first failure; what is moot is left out, the rest may be what a namespace on its
    /// way out waits for. The fence tells what to wait for either way.
    pub async fn carry_out(&self, plan: &Plan) -> (Verdict, Fence) {
        let (mut outcome, mut fence) = (Verdict::Done, Fence::default());
        for step in &plan.steps {
            let verdict = match step {
                Step::Write(write) => self.all(std::slice::from_ref(&**write), &mut fence).await,
                Step::Together(writes) => self.all(writes, &mut fence).await,
                Step::SlowStart(writes) => self.slow_start(writes, &mut fence).await,
            };
            match verdict {
                Verdict::Done => {}
                Verdict::Moot => outcome = Verdict::Moot,
                Verdict::Stale | Verdict::Failed(_) => return (verdict, fence),
            }
        }
        for note in &plan.notes {
            self.record(note, |message| message);
        }
        (outcome, fence)
    }

    async fn slow_start(&self, writes: &[Write], fence: &mut Fence) -> Verdict {
        let (mut rest, mut size) = (writes, FIRST_BATCH);
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            let verdict = self.all(batch, fence).await;
            if !matches!(verdict, Verdict::Done) {
                return verdict;
            }
            (rest, size) = (later, size * 2);
        }
        Verdict::Done
    }

    /// All at once, within reason; the worst outcome counts, the first of its kind.
    async fn all(&self, writes: &[Write], fence: &mut Fence) -> Verdict {
        let mut effects = Vec::with_capacity(writes.len());
        for part in writes.chunks(MAX_AT_ONCE) {
            effects.extend(futures_util::future::join_all(part.iter().map(|write| self.write(write))).await);
        }
        let mut verdict = Verdict::Done;
        for (write, effect) in writes.iter().zip(effects) {
            let until = match effect {
                Effect::Done { name, until } => {
                    if let (Some(note), Some(name)) = (&write.done, name) {
                        self.record(note, |message| message.replace("{name}", &name));
                    }
                    until
                }
                Effect::Stale(until) => {
                    if !matches!(verdict, Verdict::Failed(_)) {
                        verdict = Verdict::Stale;
                    }
                    until
                }
                Effect::Moot => {
                    if matches!(verdict, Verdict::Done) {
                        verdict = Verdict::Moot;
                    }
                    None
                }
                Effect::Failed { failure, until } => {
                    if let Some(note) = &write.failed {
                        self.record(note, |message| message.replace("{error}", &failure.message));
                    }
                    if !matches!(verdict, Verdict::Failed(_)) {
                        verdict = Verdict::Failed(failure);
                    }
                    until
                }
            };
            if let Some(until) = until {
                fence.add(&write.resource, until);
            }
        }
        verdict
    }

    fn record(&self, note: &Note, fill: impl FnOnce(String) -> String) {
        self.recorder.event(&note.about, note.kind, note.reason, fill(note.message.clone()));
    }

    async fn write(&self, write: &Write) -> Effect {
        if let Some(alive) = &write.alive {
            match self.is_alive(alive).await {
                Ok(true) => {}
                Ok(false) => return Effect::Stale(None),
                Err(error) => return failed(write, write.name(), &error, None),
            }
        }
        for _ in 0..MAX_NAMES {
            let (name, body) = named(write);
            let effect = self.write_persistently(write, &name, body).await;
            let taken = matches!(&effect, Effect::Failed { failure, .. } if failure.reason == "AlreadyExists");
            // A made-up name that is taken says nothing about the plan: make up another.
            if !(taken && write.name().is_empty()) {
                return effect;
            }
        }
        let error = Error::Request(format!("no free name after {MAX_NAMES} tries"));
        failed(write, write.name(), &error, None)
    }

    /// Repeats the very same write while nobody knows whether it happened: names, uids and
    /// resourceVersions make that harmless.
    async fn write_persistently(&self, write: &Write, name: &str, body: Bytes) -> Effect {
        let mut unknown = 0;
        loop {
            match self.send(write, name, &body).await {
                Ok(until) => return Effect::Done { name: Some(name.to_owned()), until },
                Err(error) if error.outcome_is_unknown() => {
                    unknown += 1;
                    if unknown > MAX_REPEATS {
                        return failed(write, name, &error, Some(Until::Now));
                    }
                    tokio::time::sleep(jitter(REPEAT_BACKOFF.delay(unknown))).await;
                }
                Err(error) => return self.judge(write, name, &body, &error, unknown > 0).await,
            }
        }
    }

    /// What a definite refusal means. `repeated`: an earlier, unanswered try may have done it.
    async fn judge(&self, write: &Write, name: &str, body: &[u8], error: &Error, repeated: bool) -> Effect {
        if error.is_namespace_terminating() {
            return Effect::Moot;
        }
        let creates = matches!(write.action, Action::Create { .. });
        if creates && error.is_already_exists() {
            let found = self.find(write, name).await;
            let until = Some(found.as_ref().map_or(Until::Now, until_version));
            // Who may create need not be allowed to read (a ReplicaSet's controller and its pods); what
            // cannot be looked at is the unanswered try's, or the next decision will tell.
            if repeated && found.is_none_or(|found| same_owner(&found, body)) {
                return Effect::Done { name: Some(name.to_owned()), until };
            }
            return failed(write, name, error, until);
        }
        if error.is_not_found() && !creates {
            if write.gone_is_fine {
                return Effect::Done { name: None, until: gone(write) };
            }
            return Effect::Stale(gone(write).or(Some(Until::Now)));
        }
        if error.is_conflict() {
            // If only the uid was asked for, the object meant is gone, and another has its name.
            let by_uid = matches!(&write.action, Action::Delete { options, .. } if options.resource_version.is_none());
            if by_uid && write.gone_is_fine {
                return Effect::Done { name: None, until: gone(write) };
            }
            return Effect::Stale(Some(self.find(write, name).await.as_ref().map_or(Until::Now, until_version)));
        }
        failed(write, name, error, None)
    }

    async fn find(&self, write: &Write, name: &str) -> Option<Dynamic> {
        self.client.dynamic(&write.resource, &write.namespace).get(name).await.ok()
    }

    async fn is_alive(&self, alive: &Alive) -> Result<bool> {
        let found = self.client.dynamic(&alive.resource, &alive.namespace).get_opt(&alive.name).await?;
        Ok(found.is_some_and(|found| found.uid() == alive.uid && !orlop_api::meta::is_terminating(&found)))
    }

    async fn send(&self, write: &Write, name: &str, body: &Bytes) -> Result<Option<Until>> {
        let api = self.client.resource::<Raw>(&write.resource, &write.namespace);
        let options = WriteOptions { field_manager: write.manager.to_owned(), ..WriteOptions::default() };
        let written = match &write.action {
            Action::Create { .. } => api.create(&Raw::new(body.clone(), write, name)).await?,
            Action::Update { subresource, .. } => {
                api.update_with(&Raw::new(body.clone(), write, name), subresource, &options).await?
            }
            Action::Patch { subresource, patch, .. } => api.patch_with(name, subresource, patch, &options).await?,
            Action::Delete { options, .. } => {
                api.delete(name, options).await?;
                return Ok(gone(write));
            }
            Action::DeleteCollection { options } => {
                api.delete_collection(options, &ListOptions::default()).await?;
                return Ok(None);
            }
        };
        Ok(Some(written.until()))
    }
}

/// The name to use and the body that carries it.
fn named(write: &Write) -> (String, Bytes) {
    match &write.action {
        Action::Create { name, generate_name, object } if name.is_empty() => {
            let name = generated(generate_name);
            let body = with_name(object, &name);
            (name, body)
        }
        Action::Create { name, object, .. } | Action::Update { name, object, .. } => (name.clone(), object.clone()),
        Action::Patch { name, .. } | Action::Delete { name, .. } => (name.clone(), Bytes::new()),
        Action::DeleteCollection { .. } => (String::new(), Bytes::new()),
    }
}

/// As the server's `names.SimpleNameGenerator`: at most 58 characters of base, five at random.
fn generated(base: &str) -> String {
    const MAX_BASE: usize = 63 - SUFFIX;
    const SUFFIX: usize = 5;
    let end = base.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_BASE).last();
    format!("{}{}", &base[..end.unwrap_or(0)], id::suffix(SUFFIX))
}

/// `object` with `metadata.name` set; it has a `metadata` object and no name there.
fn with_name(object: &Bytes, name: &str) -> Bytes {
    let metadata = json::members(object).find(|m| m.key == b"metadata").map(|m| m.value);
    let Some(metadata) = metadata else { return object.clone() };
    // `members` yields slices of `object` itself.
    let at = metadata.as_ptr() as usize - object.as_ptr() as usize + 1;
    let comma = if metadata.get(1) == Some(&b'}') { "" } else { "," };
    let member = format!("\"name\":\"{name}\"{comma}");
    [&object[..at], member.as_bytes(), &object[at..]].concat().into()
}

fn gone(write: &Write) -> Option<Until> {
    let Action::Delete { name, options: DeleteOptions { uid: Some(uid), .. } } = &write.action else { return None };
    Some(Until::Gone { key: key_of(&write.namespace, name).to_string(), uid: uid.clone() })
}

fn until_version<K: Object>(object: &K) -> Until {
    object.resource_version().parse().map_or(Until::Now, Until::Revision)
}

/// Whether what was found has the controller that was to be given.
fn same_owner(found: &Dynamic, body: &[u8]) -> bool {
    let Ok(wanted) = Dynamic::decode(body) else { return false };
    let controller = |o: &Dynamic| o.owner_uids().iter().find(|(_, is)| *is).map(|(uid, _)| (*uid).to_owned());
    controller(found) == controller(&wanted)
}

fn failed(write: &Write, name: &str, error: &Error, until: Option<Until>) -> Effect {
    let (reason, message) = match error {
        Error::Status(status) => (status.reason.clone(), status.message.clone()),
        other => (String::new(), error::chain(other)),
    };
    let (verb, resource) = (write.verb(), write.resource.plural.to_string());
    Effect::Failed { failure: Failure { verb, resource, name: name.to_owned(), reason, message }, until }
}

/// An object on its way: bytes, and of the answer only the version.
#[derive(Clone)]
struct Raw {
    json: Bytes,
    namespace: String,
    name: String,
    version: String,
}

impl Raw {
    fn new(json: Bytes, write: &Write, name: &str) -> Self {
        Self { json, namespace: write.namespace.clone(), name: name.to_owned(), version: String::new() }
    }

    fn until(&self) -> Until {
        self.version.parse().map_or(Until::Now, Until::Revision)
    }
}

impl Object for Raw {
    fn decode(answer: &[u8]) -> Result<Self, serde_json::Error> {
        let metadata = json::members(answer).find(|m| m.key == b"metadata").map_or(&b"null"[..], |m| m.value);
        let version = json::members(metadata).find(|m| m.key == b"resourceVersion").map(|m| m.value);
        let version = version.map(serde_json::from_slice).transpose()?.unwrap_or_default();
        Ok(Self { json: Bytes::new(), namespace: String::new(), name: String::new(), version })
    }
    fn encode(&self) -> Vec<u8> {
        self.json.to_vec()
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn namespace(&self) -> &str {
        &self.namespace
    }
    fn uid(&self) -> &'static str {
        ""
    }
    fn resource_version(&self) -> &str {
        &self.version
    }
    fn owner_uids(&self) -> Vec<(&str, bool)> {
        Vec::new()
    }
    fn trimmed(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_into_metadata() {
        let rows = [
            (
                r#"{"kind":"Pod","metadata":{"generateName":"a-"},"spec":{}}"#,
                r#"{"kind":"Pod","metadata":{"name":"x","generateName":"a-"},"spec":{}}"#,
            ),
            (r#"{"metadata":{}}"#, r#"{"metadata":{"name":"x"}}"#),
        ];
        for (before, after) in rows {
            assert_eq!(with_name(&Bytes::from(before), "x"), after);
        }
        assert_eq!(generated(&"a".repeat(70)).len(), 63);
    }
}
