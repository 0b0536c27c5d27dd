//! The immutable state of a cache and how it is asked.

use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use super::item::Item;
use crate::object::Object;

/// `namespace/name`, or `name` for cluster-scoped objects: the key of an object in its cache.
/// Neither part can hold a slash, so a namespace is a contiguous range of keys.
pub fn key_of(namespace: &str, name: &str) -> Arc<str> {
    if namespace.is_empty() { name.into() } else { format!("{namespace}/{name}").into() }
}

/// A way to find objects besides by name: `values` yields what an object is found under.
pub struct Index<K> {
    pub name: &'static str,
    pub values: fn(&K) -> Vec<String>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Index<K> {}

/// An [`Index`] of a kind that is not known here.
#[derive(Clone)]
pub(super) struct ItemIndex {
    name: &'static str,
    values: Arc<dyn Fn(&Item) -> Vec<String> + Send + Sync>,
}

impl<K: Object> From<Index<K>> for ItemIndex {
    fn from(index: Index<K>) -> Self {
        Self { name: index.name, values: Arc::new(move |item| (index.values)(item.object())) }
    }
}

/// Objects of one index value, in key order; rarely many, so a flat list copied on change.
type Group = Arc<[(Arc<str>, Item)]>;
type Groups = OrdMap<Arc<str>, Group>;

#[derive(Clone, Default)]
pub(super) struct State {
    pub objects: OrdMap<Arc<str>, Item>,
    indexes: Vec<(ItemIndex, Groups)>,
}

impl State {
    /// Adds an index over what is there; the same name again changes nothing.
    pub fn add_index(&mut self, index: ItemIndex) {
        if self.indexes.iter().any(|(known, _)| known.name == index.name) {
            return;
        }
        let mut groups = std::collections::BTreeMap::<String, Vec<(Arc<str>, Item)>>::new();
        for (key, object) in &self.objects {
            for value in (index.values)(object) {
                groups.entry(value).or_default().push((key.clone(), object.clone()));
            }
        }
        let groups = groups.into_iter().map(|(value, group)| (Arc::from(value), Group::from(group))).collect();
        self.indexes.push((index, groups));
    }

    /// Puts or removes one object; returns what was there.
    pub fn set(&mut self, key: &Arc<str>, object: Option<Item>) -> Option<Item> {
        let old = match &object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(key),
        };
        for (index, groups) in &mut self.indexes {
            let before = old.as_ref().map(&*index.values).unwrap_or_default();
            let after = object.as_ref().map(&*index.values).unwrap_or_default();
            for value in before.iter().filter(|v| !after.contains(v)) {
                regroup(groups, value, key, None);
            }
            for value in &after {
                regroup(groups, value, key, object.clone());
            }
        }
        old
    }
}

fn regroup(groups: &mut Groups, value: &str, key: &Arc<str>, object: Option<Item>) {
    let old = groups.get(value).cloned();
    let members = old.as_deref().unwrap_or_default();
    let (at, end) = match members.binary_search_by(|(k, _)| k.cmp(key)) {
        Ok(at) => (at, at + 1),
        Err(at) => (at, at),
    };
    let middle = object.map(|o| (key.clone(), o));
    let group: Group = members[..at].iter().cloned().chain(middle).chain(members[end..].iter().cloned()).collect();
    if group.is_empty() {
        groups.remove(value);
    } else {
        groups.insert(value.into(), group);
    }
}

/// What a cache held at one moment. Cheap to clone, never changes.
pub struct Snapshot<K> {
    state: Arc<State>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), kind: PhantomData }
    }
}

impl<K: Object> Snapshot<K> {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, kind: PhantomData }
    }

    /// A snapshot of exactly these objects, as tests of pure code want it.
    pub fn of(objects: impl IntoIterator<Item = K>, indexes: &[Index<K>]) -> Self {
        let mut state = State::default();
        for index in indexes {
            state.add_index((*index).into());
        }
        for object in objects.into_iter().map(Item::new) {
            state.set(&object.key(), Some(object));
        }
        Self::new(Arc::new(state))
    }

    /// By namespace (empty for cluster-scoped kinds) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.by_key(&key_of(namespace, name))
    }

    /// By [`key_of`] its namespace and name.
    pub fn by_key(&self, key: &str) -> Option<&Arc<K>> {
        self.state.objects.get(key).map(Item::object)
    }

    /// Every object, by namespace, then name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.state.objects.values().map(Item::object)
    }

    /// Every object with its key.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<K>)> {
        self.state.objects.iter().map(|(key, item)| (key, item.object()))
    }

    /// The objects of one namespace, by name.
    pub fn namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> + use<'_, K> {
        // '0' follows '/': the range holds every key that starts with "namespace/".
        let (from, to) = (format!("{namespace}/"), format!("{namespace}0"));
        let range = (Bound::Included(from.as_str()), Bound::Excluded(to.as_str()));
        self.state.objects.range::<_, str>(range).map(|(_, item)| item.object())
    }

    /// The objects that `index` files under `value`, in key order. The index must be registered.
    pub fn indexed(&self, index: &str, value: &str) -> impl Iterator<Item = &Arc<K>> + use<'_, K> {
        let found = self.state.indexes.iter().find(|(known, _)| known.name == index);
        debug_assert!(found.is_some(), "index {index} is not registered");
        let group = found.and_then(|(_, groups)| groups.get(value));
        group.into_iter().flat_map(|group| group.iter().map(|(_, item)| item.object()))
    }

    pub fn len(&self) -> usize {
        self.state.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.state.objects.is_empty()
    }
}
