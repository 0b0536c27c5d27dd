//! Reading at one revision.

use std::sync::Arc;

use crate::state::{State, TableRange, bounds};
use crate::{Entry, Key, Revision};

/// Everything at one revision. Cheap to make, to clone and to keep for a while: it holds on to the
/// entries that were alive then.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) inner: Arc<At>,
}

#[derive(Debug)]
pub(crate) struct At {
    pub revision: Revision,
    pub state: State,
}

impl Snapshot {
    pub(crate) fn new(revision: Revision, state: State) -> Snapshot {
        Snapshot { inner: Arc::new(At { revision, state }) }
    }

    pub fn revision(&self) -> Revision {
        self.inner.revision
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        self.inner.state.get(resource, namespace, name)
    }

    pub fn find(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.inner.state.find(key)
    }

    /// Entries of `resource` in order of namespace, then name; only those in `namespace` if given,
    /// only those strictly after the (namespace, name) `after` if given.
    pub fn range(&self, resource: &str, namespace: Option<&str>, after: Option<(&str, &str)>) -> Range<'_> {
        Range { inner: self.inner.state.table(resource).map(|table| table.range(bounds(namespace, after))) }
    }

    /// How many entries `range(resource, namespace, None)` has: constant time for a whole resource.
    pub fn count(&self, resource: &str, namespace: Option<&str>) -> usize {
        match namespace {
            None => self.inner.state.table(resource).map_or(0, imbl::OrdMap::len),
            Some(_) => self.range(resource, namespace, None).count(),
        }
    }

    /// Resources that have entries, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.inner.state.resources()
    }

    pub fn state(&self) -> &State {
        &self.inner.state
    }
}

/// Iterates [`Snapshot::range`]; a clone goes on from the same place.
#[derive(Clone)]
pub struct Range<'a> {
    inner: Option<TableRange<'a>>,
}

impl<'a> Iterator for Range<'a> {
    type Item = &'a Arc<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.as_mut()?.next().map(|(_, entry)| entry)
    }
}
