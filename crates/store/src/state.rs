//! All entries alive at one revision, as a persistent map: a clone is free, a change copies a path.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdMap;
use imbl::ordmap::RangedIter;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::{Entry, Key};

#[derive(Clone, Debug, Default)]
pub struct State {
    resources: OrdMap<Arc<str>, Table>,
    entries: usize,
    bytes: u64,
}

/// One resource's entries in list order.
pub(crate) type Table = OrdMap<Spot, Arc<Entry>>;
pub(crate) type TableRange<'a> = RangedIter<'a, Spot, Arc<Entry>, DefaultSharedPtr>;

/// A place within a resource. Not the entry itself: inner tree nodes keep copies of keys, and
/// must not keep overwritten entries alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// A borrowed place to look for.
#[derive(Clone, Copy)]
pub(crate) enum Edge<'a> {
    At { namespace: &'a str, name: &'a str },
    EndOf { namespace: &'a str },
}

impl Equivalent<Spot> for Edge<'_> {
    fn equivalent(&self, spot: &Spot) -> bool {
        self.compare(spot).is_eq()
    }
}

impl Comparable<Spot> for Edge<'_> {
    fn compare(&self, spot: &Spot) -> Ordering {
        match self {
            Edge::At { namespace, name } => (*namespace).cmp(&*spot.namespace).then_with(|| (*name).cmp(&*spot.name)),
            Edge::EndOf { namespace } => (*namespace).cmp(&*spot.namespace).then(Ordering::Greater),
        }
    }
}

impl State {
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        self.resources.get(resource)?.get(&Edge::At { namespace, name })
    }

    pub fn find(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.get(&key.resource, &key.namespace, &key.name)
    }

    /// Adds or replaces; answers what was replaced.
    pub fn put(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let spot = Spot { namespace: entry.key.namespace.clone(), name: entry.key.name.clone() };
        self.bytes += weight(&entry);
        let previous = match self.resources.get_mut(&*entry.key.resource) {
            Some(table) => table.insert(spot, entry),
            None => {
                self.resources.insert(entry.key.resource.clone(), OrdMap::unit(spot, entry));
                None
            }
        };
        match &previous {
            Some(previous) => self.bytes -= weight(previous),
            None => self.entries += 1,
        }
        previous
    }

    pub fn remove(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let table = self.resources.get_mut(&*key.resource)?;
        let removed = table.remove(&Edge::At { namespace: &key.namespace, name: &key.name })?;
        if table.is_empty() {
            self.resources.remove(&*key.resource);
        }
        self.entries -= 1;
        self.bytes -= weight(&removed);
        Some(removed)
    }

    /// `key` with the strings that neighbours already hold, so that a thousand pods share one
    /// `pods` and one `default`.
    pub(crate) fn interned(&self, key: Key) -> Key {
        let Some((resource, table)) = self.resources.get_key_value(&*key.resource) else { return key };
        let neighbour = table.get_next(&Edge::At { namespace: &key.namespace, name: "" });
        let namespace = match neighbour {
            Some((spot, _)) if spot.namespace == key.namespace => spot.namespace.clone(),
            _ => key.namespace,
        };
        Key { resource: resource.clone(), namespace, name: key.name }
    }

    pub(crate) fn table(&self, resource: &str) -> Option<&Table> {
        self.resources.get(resource)
    }

    /// Resources that have entries, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.resources.keys()
    }

    /// Every entry, in key order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.resources.values().flat_map(|table| table.values())
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of keys and JSON.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn weight(entry: &Entry) -> u64 {
    (entry.key.resource.len() + entry.key.namespace.len() + entry.key.name.len() + entry.json.len()) as u64
}

/// Bounds of a listing: within `namespace` (or everywhere), strictly after `after`.
pub(crate) fn bounds<'a>(
    namespace: Option<&'a str>,
    after: Option<(&'a str, &'a str)>,
) -> (Bound<Edge<'a>>, Bound<Edge<'a>>) {
    let start = match (namespace, after) {
        // A start before the namespace would list what is not in it.
        (Some(ns), Some((after_ns, _))) if after_ns < ns => Bound::Included(Edge::At { namespace: ns, name: "" }),
        (_, Some((namespace, name))) => Bound::Excluded(Edge::At { namespace, name }),
        (Some(namespace), None) => Bound::Included(Edge::At { namespace, name: "" }),
        (None, None) => Bound::Unbounded,
    };
    let end = match namespace {
        Some(namespace) => Bound::Excluded(Edge::EndOf { namespace }),
        None => Bound::Unbounded,
    };
    (start, end)
}
