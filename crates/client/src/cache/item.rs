//! Objects of any kind, so that what keeps them is compiled once and not for every kind.

use std::any::Any;
use std::sync::Arc;

use super::snapshot::key_of;
use crate::object::Object;

/// An object in a cache. Only its cache's handles know the kind, and every handle knows the same.
#[derive(Clone)]
pub(super) struct Item(Arc<dyn Held>);

/// What caches ask of an object.
trait Held: Any + Send + Sync {
    fn key(&self) -> Arc<str>;
    fn uid(&self) -> &str;
    fn resource_version(&self) -> &str;
}

impl<K: Object> Held for Arc<K> {
    fn key(&self) -> Arc<str> {
        key_of(self.namespace(), self.name())
    }
    fn uid(&self) -> &str {
        K::uid(self)
    }
    fn resource_version(&self) -> &str {
        K::resource_version(self)
    }
}

impl Item {
    pub fn new<K: Object>(object: K) -> Self {
        Self(Arc::new(Arc::new(object)))
    }

    /// Without what caches need not hold.
    pub fn decode<K: Object>(json: &[u8]) -> Result<Self, serde_json::Error> {
        K::decode(json).map(|object| Self::new(object.trimmed()))
    }

    pub fn object<K: Object>(&self) -> &Arc<K> {
        let held: &dyn Any = &*self.0;
        held.downcast_ref().expect("a cache's handles know its kind")
    }

    pub fn key(&self) -> Arc<str> {
        self.0.key()
    }

    pub fn uid(&self) -> &str {
        self.0.uid()
    }

    pub fn resource_version(&self) -> &str {
        self.0.resource_version()
    }
}

/// One change: [`super::Delta`] of a kind that is not known here.
#[derive(Clone)]
pub(super) struct Change {
    pub old: Option<Item>,
    pub new: Option<Item>,
}

impl Change {
    pub fn item(&self) -> &Item {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has at least one side")
    }
}
