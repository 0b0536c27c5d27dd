//! An independent client that lists once and then only watches, through the same bad network.
//!
//! It must hear every event of its resource exactly once and in order, whatever breaks in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_client::{Client, Dynamic, Error, ListOptions, Object, Resource, WatchEvent, WatchOptions};
use orlop_store::Revision;

use crate::history::History;
use crate::violation::Violation;

/// Between tries.
const RETRY: Duration = Duration::from_millis(500);

/// A running follower; what it has heard can be looked at at any time.
#[derive(Clone)]
pub struct Follower {
    resource: &'static str,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    /// Of the list it began with.
    start: Revision,
    /// Up to here everything has been heard.
    revision: Revision,
    /// In the order in which they came: what happened to whom, with which revision.
    events: Vec<(Revision, String, bool)>,
    /// By namespace and name.
    objects: BTreeMap<String, Dynamic>,
    /// How often it had to list.
    lists: u32,
}

impl Follower {
    /// `resource` is the storage key of `K`.
    pub fn start<K: Typed>(resource: &'static str, client: &Client) -> Self {
        let follower = Self { resource, heard: Arc::default() };
        let api = client.dynamic(&Resource::of::<K>(), "");
        let this = follower.clone();
        tokio::spawn(async move {
            loop {
                if let Err(error) = this.session(&api).await {
                    tracing::debug!(resource, error = orlop_base::error::chain(&error), "following failed");
                    if error.is_expired() {
                        this.heard().lists = 0;
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        follower
    }

    async fn session(&self, api: &orlop_client::Api<Dynamic>) -> Result<(), Error> {
        let listed = self.heard().lists > 0;
        if !listed {
            let list = api.list(&ListOptions::default()).await?;
            let revision = list.resource_version.parse().unwrap_or(0);
            let objects = list.items.into_iter().map(|object| (name(&object), object)).collect();
            *self.heard() = Heard { start: revision, revision, events: Vec::new(), objects, lists: 1 };
        }
        let from = self.heard().revision.to_string();
        let options = WatchOptions { resource_version: from, bookmarks: true, ..WatchOptions::default() };
        let mut watch = api.watch(&options).await?;
        while let Some(event) = watch.next().await {
            self.heard().take(event?);
        }
        Ok(())
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was heard is what happened, and adds up to what is there.
    pub fn check(&self, history: &History) -> Result<(), Violation> {
        let heard = self.heard();
        let wrong = |what: String| Err(Violation::Follower { resource: self.resource, what });
        let happened = history.events().iter().filter(|event| *event.entry.key.resource == *self.resource);
        let happened = happened.filter(|event| event.revision > heard.start);
        let mut told = heard.events.iter();
        for event in happened {
            let name = format!("{}/{}", event.entry.key.namespace, event.entry.key.name);
            let expected = (event.revision, name, event.deleted);
            match told.next() {
                Some(event) if *event == expected => {}
                other => return wrong(format!("expected {expected:?}, heard {other:?}")),
            }
        }
        if let Some(extra) = told.next() {
            return wrong(format!("heard {extra:?} that never happened"));
        }
        let held = history.entries().filter(|entry| *entry.key.resource == *self.resource);
        let held: BTreeMap<String, Revision> =
            held.map(|entry| (format!("{}/{}", entry.key.namespace, entry.key.name), entry.revision)).collect();
        let seen =
            heard.objects.iter().map(|(name, object)| (name.clone(), object.resource_version().parse().unwrap_or(0)));
        let seen: BTreeMap<String, Revision> = seen.collect();
        if seen != held {
            return wrong(format!("the events add up to {seen:?}, the store holds {held:?}"));
        }
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, event: WatchEvent<Dynamic>) {
        let (object, deleted) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark { resource_version, .. } => {
                self.revision = resource_version.parse().unwrap_or(0).max(self.revision);
                return;
            }
        };
        self.revision = object.resource_version().parse().unwrap_or(0);
        self.events.push((self.revision, name(&object), deleted));
        if deleted {
            self.objects.remove(&name(&object));
        } else {
            self.objects.insert(name(&object), object);
        }
    }
}

fn name(object: &Dynamic) -> String {
    format!("{}/{}", Object::namespace(object), Object::name(object))
}
