//! What a decision wants done.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

use crate::events::EventType;
use crate::object::{Object, Resource};
use crate::params::{DeleteOptions, Patch};

/// Ordered steps, events, and when to look again without being woken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Recorded when every step is done.
    pub notes: Vec<Note>,
    pub wake_at: Option<Timestamp>,
    /// Why nothing could be decided: try again later, and later still each time.
    pub retry: Option<String>,
}

/// One thing to do before the next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Write(Box<Write>),
    /// Like writes that do not depend on each other, all at once.
    Together(Vec<Write>),
    /// Like writes in batches of 1, 2, 4, ...: if the first fails, the rest would too (a quota, a
    /// webhook), and the server is spared them (upstream's slow start).
    SlowStart(Vec<Write>),
}

/// One request, with what to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub resource: Resource,
    pub namespace: String,
    pub action: Action,
    /// Recorded on success; `{name}` stands for the object's name.
    pub done: Option<Box<Note>>,
    /// Recorded on failure; `{error}` stands for the reason.
    pub failed: Option<Box<Note>>,
    /// Before writing, this object must be found alive in the API itself (not in a cache).
    pub alive: Option<Box<Alive>>,
    /// The object being gone already is success.
    pub gone_is_fine: bool,
    /// Who manages the fields; empty: as the user agent says.
    pub manager: &'static str,
}

/// An object that must exist with this uid and not be terminating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    pub resource: Resource,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, PartialEq)]
pub enum Action {
    /// JSON of the object. Without a name the engine makes one from `generateName`, so that the
    /// same write can be repeated when its reply is lost.
    Create { name: String, generate_name: String, object: Bytes },
    /// JSON of the object with uid and resourceVersion; `subresource` may be empty.
    Update { name: String, subresource: &'static str, object: Bytes },
    /// The patch carries uid and resourceVersion where they matter.
    Patch { name: String, subresource: &'static str, patch: Patch },
    /// The options carry the uid.
    Delete { name: String, options: DeleteOptions },
    /// Everything of the resource in the namespace.
    DeleteCollection { options: DeleteOptions },
}

/// An event to record.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub about: ObjectReference,
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

impl Note {
    pub fn normal<K: Typed>(about: &K, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(crate::events::reference(about), EventType::Normal, reason, message)
    }

    pub fn warning<K: Typed>(about: &K, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(crate::events::reference(about), EventType::Warning, reason, message)
    }

    pub fn new(about: ObjectReference, kind: EventType, reason: &'static str, message: impl Into<String>) -> Self {
        Self { about, kind, reason, message: message.into() }
    }
}

impl Plan {
    /// Nothing to do and nothing to wait for but changes.
    pub fn none() -> Self {
        Self::default()
    }

    /// Nothing decided; `why` is logged, and the subject comes back with back-off.
    pub fn retry(why: impl Into<String>) -> Self {
        Self { retry: Some(why.into()), ..Self::default() }
    }

    /// Nothing to do before `at`.
    pub fn wake_at(at: Timestamp) -> Self {
        Self { wake_at: Some(at), ..Self::default() }
    }

    /// No writes and no events: the world is as wanted, as far as this controller goes.
    pub fn is_converged(&self) -> bool {
        self.steps.is_empty() && self.notes.is_empty() && self.retry.is_none()
    }

    pub fn write(&mut self, write: Write) {
        self.steps.push(Step::Write(Box::new(write)));
    }

    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Wakes at `at` unless something earlier is asked for already.
    pub fn wake_by(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Every write, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.steps.iter().flat_map(|step| match step {
            Step::Write(write) => std::slice::from_ref(&**write).iter(),
            Step::Together(writes) | Step::SlowStart(writes) => writes.iter(),
        })
    }

    /// One line per write and event, for tests and logs.
    pub fn lines(&self) -> Vec<String> {
        let writes = self.writes().map(ToString::to_string);
        let notes = self.notes.iter().map(ToString::to_string);
        let retry = self.retry.iter().map(|why| format!("retry {why}"));
        let wake = self.wake_at.iter().map(|at| format!("wake {at}"));
        writes.chain(notes).chain(retry).chain(wake).collect()
    }
}

impl Write {
    fn new(resource: Resource, namespace: &str, action: Action) -> Self {
        let namespace = namespace.to_owned();
        Self { resource, namespace, action, done: None, failed: None, alive: None, gone_is_fine: false, manager: "" }
    }

    pub fn create<K: Typed>(object: &K) -> Self {
        let action = Action::Create {
            name: Typed::name(object).to_owned(),
            generate_name: object.meta().generate_name.clone().unwrap_or_default(),
            object: Typed::encode(object).into(),
        };
        Self::new(Resource::of::<K>(), Typed::namespace(object), action)
    }

    /// Replaces the object this was made from: uid and resourceVersion must still be its.
    pub fn update<K: Typed>(object: &K) -> Self {
        Self::update_subresource(object, "")
    }

    pub fn update_status<K: Typed>(object: &K) -> Self {
        Self::update_subresource(object, "status")
    }

    pub fn update_subresource<K: Typed>(object: &K, subresource: &'static str) -> Self {
        let (name, encoded) = (Typed::name(object).to_owned(), Typed::encode(object).into());
        let action = Action::Update { name, subresource, object: encoded };
        Self::new(Resource::of::<K>(), Typed::namespace(object), action)
    }

    /// Merges `patch` into exactly this object, whatever its version by now.
    pub fn patch<K: Typed>(object: &K, subresource: &'static str, patch: Value) -> Self {
        Self::patch_of(&Resource::of::<K>(), object, subresource, patch, Patch::Strategic)
    }

    /// [`Write::patch`] with a JSON merge patch, for any resource.
    pub fn merge<K: Object>(resource: &Resource, object: &K, patch: Value) -> Self {
        Self::patch_of(resource, object, "", patch, Patch::Merge)
    }

    fn patch_of<K: Object>(
        resource: &Resource,
        object: &K,
        subresource: &'static str,
        mut patch: Value,
        how: fn(Value) -> Patch,
    ) -> Self {
        orlop_api::meta::set(&mut patch, "uid", object.uid());
        let action = Action::Patch { name: object.name().to_owned(), subresource, patch: how(patch) };
        Self::new(resource.clone(), object.namespace(), action)
    }

    /// Server-side apply of `fields` as `manager`, whoever else has them.
    pub fn apply<K: Typed>(object: &K, subresource: &'static str, mut fields: Value, manager: &'static str) -> Self {
        fields["apiVersion"] = K::API_VERSION.into();
        fields["kind"] = K::KIND.into();
        orlop_api::meta::set(&mut fields, "name", Typed::name(object));
        let patch = Patch::Apply { object: fields, force: true };
        let action = Action::Patch { name: Typed::name(object).to_owned(), subresource, patch };
        Self { manager, ..Self::new(Resource::of::<K>(), Typed::namespace(object), action) }
    }

    /// Deletes exactly this object; its being gone already is fine.
    pub fn delete<K: Typed>(object: &K) -> Self {
        Self::delete_with(object, DeleteOptions::default())
    }

    pub fn delete_with<K: Typed>(object: &K, options: DeleteOptions) -> Self {
        let options = DeleteOptions { uid: Some(Typed::uid(object).to_owned()), ..options };
        let action = Action::Delete { name: Typed::name(object).to_owned(), options };
        Self::new(Resource::of::<K>(), Typed::namespace(object), action).gone_is_fine()
    }

    /// [`Write::delete_with`] for any resource; the options carry the uid. Being gone already is fine.
    pub fn delete_of<K: Object>(resource: &Resource, object: &K, options: DeleteOptions) -> Self {
        let action = Action::Delete { name: object.name().to_owned(), options };
        Self::new(resource.clone(), object.namespace(), action).gone_is_fine()
    }

    pub fn delete_collection(resource: &Resource, namespace: &str, options: DeleteOptions) -> Self {
        Self::new(resource.clone(), namespace, Action::DeleteCollection { options }).gone_is_fine()
    }

    #[must_use]
    pub fn gone_is_fine(mut self) -> Self {
        self.gone_is_fine = true;
        self
    }

    /// The event of success.
    #[must_use]
    pub fn done(mut self, note: Note) -> Self {
        self.done = Some(Box::new(note));
        self
    }

    /// The event of failure.
    #[must_use]
    pub fn failed(mut self, note: Note) -> Self {
        self.failed = Some(Box::new(note));
        self
    }

    /// Only if `owner` is found alive at the server itself.
    #[must_use]
    pub fn while_alive<K: Typed>(mut self, owner: &K) -> Self {
        self.alive = Some(Box::new(Alive {
            resource: Resource::of::<K>(),
            namespace: Typed::namespace(owner).to_owned(),
            name: Typed::name(owner).to_owned(),
            uid: Typed::uid(owner).to_owned(),
        }));
        self
    }

    pub fn verb(&self) -> &'static str {
        match self.action {
            Action::Create { .. } => "create",
            Action::Update { .. } => "update",
            Action::Patch { .. } => "patch",
            Action::Delete { .. } => "delete",
            Action::DeleteCollection { .. } => "deletecollection",
        }
    }

    /// The subresource written; empty for the object itself.
    pub fn subresource(&self) -> &'static str {
        match self.action {
            Action::Update { subresource, .. } | Action::Patch { subresource, .. } => subresource,
            _ => "",
        }
    }

    /// The object's name; empty where the server's collection is meant or a name is yet to be made.
    pub fn name(&self) -> &str {
        match &self.action {
            Action::Create { name, .. }
            | Action::Update { name, .. }
            | Action::Patch { name, .. }
            | Action::Delete { name, .. } => name,
            Action::DeleteCollection { .. } => "",
        }
    }

    /// The body as a value; null without one.
    pub fn body(&self) -> Value {
        match &self.action {
            Action::Create { object, .. } | Action::Update { object, .. } => {
                serde_json::from_slice(object).unwrap_or_default()
            }
            Action::Patch { patch: Patch::Json(v) | Patch::Merge(v) | Patch::Strategic(v), .. } => v.clone(),
            Action::Patch { patch: Patch::Apply { object, .. }, .. } => object.clone(),
            Action::Delete { options, .. } | Action::DeleteCollection { options } => options.body(),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.subresource().is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.verb(), self.resource.plural, self.subresource())?;
        let name = match &self.action {
            Action::Create { name, generate_name, .. } if name.is_empty() => format!("{generate_name}*"),
            _ => self.name().to_owned(),
        };
        match (self.namespace.is_empty(), name.is_empty()) {
            (true, _) => write!(f, " {name}"),
            (false, true) => write!(f, " {}", self.namespace),
            (false, false) => write!(f, " {}/{name}", self.namespace),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} {}: {}", self.kind.as_str(), self.reason, self.message)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Create { name, generate_name, object } => write!(f, "Create {name}{generate_name} {}", text(object)),
            Self::Update { name, subresource, object } => write!(f, "Update {name}/{subresource} {}", text(object)),
            Self::Patch { name, subresource, patch } => write!(f, "Patch {name}/{subresource} {patch:?}"),
            Self::Delete { name, options } => write!(f, "Delete {name} {}", json!(options.body())),
            Self::DeleteCollection { options } => write!(f, "DeleteCollection {}", options.body()),
        }
    }
}
