//! What a decision sees.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use crate::cache::{Snapshot, key_of};
use crate::object::Object;

/// Names a subject: `namespace/name`, or `name` for cluster-scoped ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(key_of(namespace, name))
    }

    pub fn of<K: Object>(object: &K) -> Self {
        Self::new(object.namespace(), object.name())
    }

    /// Empty for cluster-scoped subjects.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// As the caches key it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the last plan for this subject ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// `pods`, `replicasets`.
    pub resource: String,
    /// Of the object written; empty when the server was to name it.
    pub name: String,
    /// Machine-readable reason of the server's answer; empty without one.
    pub reason: String,
    /// The server's words, or the transport's.
    pub message: String,
}

type Part = Arc<dyn Any + Send + Sync>;

/// One snapshot per source of a controller, and what happened to this subject's last plan.
#[derive(Clone, Default)]
pub struct View {
    parts: Vec<(TypeId, Part)>,
    failure: Option<Failure>,
}

impl View {
    /// The objects of one kind. The controller must have declared it as a source.
    pub fn of<K: Object>(&self) -> &Snapshot<K> {
        self.part::<Snapshot<K>>().expect("a decision reads only the sources its controller declares")
    }

    /// The subject itself.
    pub fn subject<K: Object>(&self, key: &Key) -> Option<&Arc<K>> {
        self.of::<K>().by_key(key.as_str())
    }

    /// What the controller's `look` found, if it has one.
    pub fn facts<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.part::<T>()
    }

    /// Set for the one decision that follows a failed plan: report it (status, events); the next
    /// try comes later.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Adds or replaces a part: a `Snapshot<K>` or facts.
    pub fn set<T: Send + Sync + 'static>(&mut self, part: T) {
        self.set_shared(Arc::new(part));
    }

    pub(super) fn set_shared<T: Send + Sync + 'static>(&mut self, part: Arc<T>) {
        self.parts.retain(|(ty, _)| *ty != TypeId::of::<T>());
        self.parts.push((TypeId::of::<T>(), part));
    }

    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, part: T) -> Self {
        self.set(part);
        self
    }

    #[must_use]
    pub fn with_failure(mut self, failure: Option<Failure>) -> Self {
        self.failure = failure;
        self
    }

    fn part<T: 'static>(&self) -> Option<&T> {
        self.parts.iter().find(|(ty, _)| *ty == TypeId::of::<T>()).and_then(|(_, part)| part.downcast_ref())
    }
}
