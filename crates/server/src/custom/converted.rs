//! What a webhook made of stored entries, shared by all who read the same version: each revision of an object is
//! converted once.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use orlop_api::status::StatusError;
use orlop_api::{Value, codec};
use orlop_store::{Entry, Memo as EntryMemo, Revision, Store};
use tokio::sync::oneshot;

use super::conversion::convert;
use crate::memo::Memo;
use crate::resource::{Resource, parse_stored};

/// Of stored JSON sent in one review: the answer, perhaps twice as large, must fit into a body.
const BATCH: usize = 1024 * 1024;

/// Entries converted by one review, in the order in which they were sent.
type Made = Result<Arc<[Arc<Entry>]>, StatusError>;
type Review = BoxFuture<'static, Made>;

/// An entry in other versions. As many as the definition serves; none of what it was before.
#[derive(Default)]
pub struct Versions(Mutex<Vec<Version>>);

struct Version {
    api_version: Box<str>,
    /// Under which state of the definition.
    since: Revision,
    state: State,
}

enum State {
    /// On its way, at this place of a review; given up when nobody waits any more.
    Pending(WeakShared<Review>, usize),
    Done(Arc<Entry>),
}

/// Where an entry is to be had.
enum Found {
    Done(Arc<Entry>),
    Pending(Shared<Review>, usize),
}

/// Puts the `others` among the entries into the version of `resource`.
pub async fn replace(
    store: &Store,
    resource: &Resource,
    entries: &mut [Arc<Entry>],
    others: &[usize],
) -> Result<(), StatusError> {
    let mut reviews = Reviews { store, resource, open: None };
    let found: Vec<Found> =
        others.iter().map(|i| Memo::of(&entries[*i]).versions.find(&entries[*i], &mut reviews)).collect();
    reviews.close();
    for (i, found) in others.iter().zip(found) {
        let (review, place) = match found {
            Found::Done(entry) => {
                entries[*i] = entry;
                continue;
            }
            Found::Pending(review, place) => (review, place),
        };
        let made = review.await?[place].clone();
        Memo::of(&entries[*i]).versions.keep(resource, &made);
        entries[*i] = made;
    }
    Ok(())
}

impl Versions {
    /// Takes part in a review that is under way, or in the next.
    fn find(&self, entry: &Arc<Entry>, reviews: &mut Reviews<'_>) -> Found {
        let (api_version, since) = (reviews.resource.api_version(), reviews.resource.since());
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.since >= since);
        let known = versions.iter().find(|version| version.since == since && *version.api_version == *api_version);
        match known.map(|version| &version.state) {
            Some(State::Done(entry)) => return Found::Done(entry.clone()),
            Some(State::Pending(review, place)) => {
                // One that failed is not asked again.
                let review = review.upgrade().filter(|review| !matches!(review.peek(), Some(Err(_))));
                if let Some(review) = review {
                    return Found::Pending(review, *place);
                }
            }
            None => {}
        }
        let (review, place) = reviews.add(entry);
        versions.retain(|version| version.since != since || *version.api_version != *api_version);
        if let Some(weak) = review.downgrade() {
            versions.push(Version { api_version: api_version.into(), since, state: State::Pending(weak, place) });
        }
        Found::Pending(review, place)
    }

    fn keep(&self, resource: &Resource, made: &Arc<Entry>) {
        let (api_version, since) = (resource.api_version(), resource.since());
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = versions.iter_mut().find(|version| version.since == since && *version.api_version == *api_version);
        if let Some(version) = known {
            version.state = State::Done(made.clone());
        }
    }
}

/// Reviews that are being put together. They begin once it is known what goes into them.
struct Reviews<'a> {
    store: &'a Store,
    resource: &'a Resource,
    open: Option<Open>,
}

struct Open {
    review: Shared<Review>,
    entries: Vec<Arc<Entry>>,
    size: usize,
    begin: oneshot::Sender<Vec<Arc<Entry>>>,
}

impl Reviews<'_> {
    /// The review that will convert an entry, and its place there.
    fn add(&mut self, entry: &Arc<Entry>) -> (Shared<Review>, usize) {
        let (store, resource) = (self.store, self.resource);
        let open = self.open.get_or_insert_with(|| Open::new(store, resource));
        open.entries.push(entry.clone());
        open.size += entry.json.len();
        let found = (open.review.clone(), open.entries.len() - 1);
        if open.size >= BATCH {
            self.close();
        }
        found
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            // Who waits for it has it.
            let _ = open.begin.send(open.entries);
        }
    }
}

impl Open {
    fn new(store: &Store, resource: &Resource) -> Self {
        let (begin, entries) = oneshot::channel::<Vec<Arc<Entry>>>();
        let (store, resource) = (store.clone(), resource.clone());
        let review = async move {
            let entries = entries.await.unwrap_or_default();
            review(&store, &resource, &entries).await
        };
        Self { review: review.boxed().shared(), entries: Vec::new(), size: 0, begin }
    }
}

async fn review(store: &Store, resource: &Resource, entries: &[Arc<Entry>]) -> Made {
    let objects: Vec<Value> = entries.iter().map(|entry| parse_stored(entry)).collect::<Result<_, _>>()?;
    let Some(conversion) = resource.conversion() else { return Ok(entries.into()) };
    let converted = convert(store, conversion, objects, resource.api_version()).await?;
    let made = entries.iter().zip(converted).map(|(entry, mut object)| {
        resource.kind().refresh(&mut object);
        restated(entry, &object)
    });
    Ok(made.collect())
}

/// The entry with its object in another version.
fn restated(entry: &Entry, object: &Value) -> Arc<Entry> {
    let (key, revision, created) = (entry.key.clone(), entry.revision, entry.created);
    Arc::new(Entry { key, revision, created, json: codec::json::encode(object).into(), memo: EntryMemo::default() })
}
