//! What a controller reads, with the kind's type erased.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orlop_api::typed::Typed;
use serde_json::Value;

use super::queue::Queue;
use super::view::{Key, View};
use crate::cache::{Cache, Delta, Factory, Index, Observer, Snapshot};
use crate::error::Result;
use crate::object::Resource;
use crate::params::ListOptions;

/// Says which subjects a change concerns.
pub type Wakes<K> = fn(&Delta<K>, &View, &mut dyn FnMut(Key));

/// One kind that a controller reads.
pub struct Source(Box<dyn AnySource>);

struct Of<K> {
    indexes: Vec<Index<K>>,
    wakes: Wakes<K>,
}

impl Source {
    /// Objects of `K`; `wakes` maps each change to the subjects it concerns.
    pub fn of<K: Typed>(wakes: Wakes<K>) -> Self {
        Self::indexed(Vec::new(), wakes)
    }

    /// [`Source::of`] with ways to find objects besides by name.
    pub fn indexed<K: Typed>(indexes: Vec<Index<K>>, wakes: Wakes<K>) -> Self {
        Self(Box::new(Of { indexes, wakes }))
    }

    /// The subjects themselves: a change of one wakes itself.
    pub fn subject<K: Typed>() -> Self {
        Self::of::<K>(|delta, _, wake| wake(Key::of(&**delta.object())))
    }

    /// Read, but no change of it wakes anybody.
    pub fn silent<K: Typed>() -> Self {
        Self::of::<K>(|_, _, _| {})
    }

    pub(super) fn open(&self, factory: &Factory) -> Box<dyn OpenSource> {
        self.0.open(factory)
    }

    pub(super) fn fixture(&self, objects: &[Value], view: &mut View) {
        self.0.fixture(objects, view);
    }

    pub(super) fn is_of(&self, object: &Value) -> bool {
        self.0.is_of(object)
    }

    /// What is read, for checks of grants.
    pub fn resource(&self) -> Resource {
        self.0.resource()
    }
}

trait AnySource: Send + Sync {
    fn open(&self, factory: &Factory) -> Box<dyn OpenSource>;
    fn fixture(&self, objects: &[Value], view: &mut View);
    fn is_of(&self, object: &Value) -> bool;
    fn resource(&self) -> Resource;
}

impl<K: Typed> AnySource for Of<K> {
    fn open(&self, factory: &Factory) -> Box<dyn OpenSource> {
        let cache = factory.cache::<K>();
        for index in &self.indexes {
            cache.add_index(*index);
        }
        let api = factory.client().all::<K>();
        Box::new(Open { cache, wakes: self.wakes, api })
    }

    fn fixture(&self, objects: &[Value], view: &mut View) {
        let mine = objects.iter().filter(|o| self.is_of(o));
        let decoded = mine.map(|o| {
            let text = o.to_string();
            K::decode(text.as_bytes()).unwrap_or_else(|e| panic!("{} in a fixture: {e}", K::KIND))
        });
        view.set(Snapshot::of(decoded, &self.indexes));
    }

    fn is_of(&self, object: &Value) -> bool {
        object["kind"] == K::KIND && object["apiVersion"].as_str().is_none_or(|v| v == K::API_VERSION)
    }

    fn resource(&self) -> Resource {
        Resource::of::<K>()
    }
}

struct Open<K> {
    cache: Cache<K>,
    wakes: Wakes<K>,
    api: crate::api::Api<K>,
}

/// A source that is being watched.
pub(super) trait OpenSource: Send + Sync {
    fn resource(&self) -> &Resource;
    fn synced(&self) -> BoxFuture<'_, ()>;
    fn add_to(&self, view: &mut View);
    fn observe(&self, sources: &Arc<Sources>, queue: &Queue) -> Observer;
    fn reached(&self, revision: u64) -> BoxFuture<'_, ()>;
    /// Returns once the cache shows this object gone or terminating.
    fn gone(&self, key: String, uid: String) -> BoxFuture<'_, ()>;
    /// The newest revision of the resource at the server itself.
    fn newest(&self) -> BoxFuture<'_, Result<u64>>;
}

impl<K: Typed> OpenSource for Open<K> {
    fn resource(&self) -> &Resource {
        self.cache.resource()
    }

    fn synced(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.cache.synced())
    }

    fn add_to(&self, view: &mut View) {
        view.set(self.cache.snapshot());
    }

    fn observe(&self, sources: &Arc<Sources>, queue: &Queue) -> Observer {
        let (sources, queue, wakes) = (sources.clone(), queue.clone(), self.wakes);
        self.cache.observe(move |delta| wakes(delta, &sources.view(), &mut |key| queue.add(key)))
    }

    fn reached(&self, revision: u64) -> BoxFuture<'_, ()> {
        Box::pin(self.cache.reached(revision))
    }

    fn gone(&self, key: String, uid: String) -> BoxFuture<'_, ()> {
        Box::pin(self.cache.wait_until(move |snapshot| {
            snapshot.by_key(&key).is_none_or(|o| Typed::uid(&**o) != uid || o.meta().deletion_timestamp.is_some())
        }))
    }

    fn newest(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            // Without a resourceVersion a list is read from the newest state.
            let page = self.api.list(&ListOptions { limit: 1, ..ListOptions::default() }).await?;
            Ok(page.resource_version.parse().unwrap_or(0))
        })
    }
}

/// All sources of one controller.
pub(super) struct Sources(pub Vec<Box<dyn OpenSource>>);

impl Sources {
    pub fn view(&self) -> View {
        let mut view = View::default();
        for source in &self.0 {
            source.add_to(&mut view);
        }
        view
    }

    pub fn of(&self, resource: &Resource) -> Option<&dyn OpenSource> {
        let mut sources = self.0.iter().map(|source| &**source);
        sources.find(|source| {
            let known = source.resource();
            known.group == resource.group && known.plural == resource.plural
        })
    }
}
