//! What every backend must do, as tests over the store on top of it.
//!
//! A backend's own tests call [`run`] with a [`Subject`] that makes empty places to keep a store in.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use crate::{Action, Draft, Durability, Entry, Event, Key, Revision, Store, StoreError, Watch};

/// A kind of backend under test.
pub trait Subject: Sync {
    /// Somewhere empty.
    fn place(&self) -> BoxFuture<'_, Box<dyn Place>>;

    /// Whether what is kept there outlives the store.
    fn is_durable(&self) -> bool;
}

/// Where a store keeps its data.
pub trait Place: Send + Sync {
    /// Opens the store; again, after it was closed.
    fn open(&self) -> BoxFuture<'_, Store>;
}

/// Runs every case in a place of its own. Panics with what is not as it must be.
pub async fn run(subject: &dyn Subject) {
    for (_, case) in CASES {
        case(subject.place().await).await;
    }
    if subject.is_durable() {
        for (_, case) in DURABLE_CASES {
            case(subject.place().await).await;
        }
    }
}

pub type Case = fn(Box<dyn Place>) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), |place| Box::pin($case(place)))),*] };
}

/// By name, for callers that want to run them one by one.
pub const CASES: &[(&str, Case)] = cases![
    every_write_gets_the_next_revision,
    a_create_needs_a_free_key,
    a_change_needs_the_newest_revision,
    of_concurrent_changes_one_wins,
    a_write_may_depend_on_its_whole_resource,
    a_key_can_be_used_again,
    bytes_carry_their_revision,
    lists_are_in_order,
    a_snapshot_stays_as_it_is,
    past_revisions_read_exactly,
    a_watch_sees_each_change_once,
    a_watch_of_a_namespace_sees_only_that,
    a_watch_starts_anywhere_in_the_window,
    progress_passes_idle_resources,
    compaction_ends_what_lags,
    relaxed_writes_keep_order_and_show_when_asked,
    waiting_for_a_revision_ends_when_it_is_there,
    a_closed_store_refuses_writes_and_ends_watches,
];

/// Only for what outlives the store.
pub const DURABLE_CASES: &[(&str, Case)] =
    cases![everything_is_there_after_reopening, revisions_go_on_after_reopening, watches_go_on_after_reopening];

const FLUSHED: Durability = Durability::Flushed;

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key { resource: resource.into(), namespace: namespace.into(), name: name.into() }
}

fn pod(name: &str) -> Key {
    key("pods", "default", name)
}

fn draft(value: u64) -> Draft {
    Draft::encode(&json!({"metadata": {"name": "x"}, "value": value}))
}

fn content(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.json).unwrap()
}

async fn create(store: &Store, key: Key, value: u64) -> Arc<Entry> {
    store.create(key, draft(value), FLUSHED).await.unwrap()
}

async fn update(store: &Store, old: &Entry, value: u64) -> Arc<Entry> {
    store.update(&old.key, old.revision, draft(value), FLUSHED).await.unwrap()
}

async fn delete(store: &Store, old: &Entry, value: u64) -> Arc<Entry> {
    store.delete(&old.key, old.revision, draft(value), FLUSHED).await.unwrap()
}

fn names(store: &Store, resource: &str, namespace: Option<&str>, after: Option<(&str, &str)>) -> Vec<String> {
    let snapshot = store.snapshot();
    snapshot.range(resource, namespace, after).map(|e| format!("{}/{}", e.key.namespace, e.key.name)).collect()
}

async fn next_events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(watch.next().await.unwrap().iter().cloned());
    }
    events
}

/// State by key as plain data: the revision and the value.
fn picture<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> BTreeMap<Key, (Revision, Revision, Value)> {
    entries.map(|entry| (entry.key.clone(), (entry.revision, entry.created, content(entry)))).collect()
}

async fn every_write_gets_the_next_revision(place: Box<dyn Place>) {
    let store = place.open().await;
    let start = store.revision();
    assert!(start > 0, "lists of an empty store need a revision other than 0");
    let a = create(&store, pod("a"), 1).await;
    let b = create(&store, key("nodes", "", "b"), 1).await;
    let a2 = update(&store, &a, 2).await;
    let gone = delete(&store, &b, 3).await;
    let revisions = [a.revision, b.revision, a2.revision, gone.revision];
    assert_eq!(revisions, [start + 1, start + 2, start + 3, start + 4]);
    assert_eq!(store.revision(), start + 4);
    assert_eq!((a.created, a2.created, gone.created), (a.revision, a.revision, b.revision));
}

async fn a_create_needs_a_free_key(place: Box<dyn Place>) {
    let store = place.open().await;
    let first = create(&store, pod("a"), 1).await;
    let again = store.create(pod("a"), draft(2), FLUSHED).await;
    assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    assert_eq!(store.revision(), first.revision, "a refused write takes no revision");
    create(&store, key("pods", "other", "a"), 3).await;
    create(&store, key("services", "default", "a"), 4).await;
}

async fn a_change_needs_the_newest_revision(place: Box<dyn Place>) {
    let store = place.open().await;
    let missing = store.update(&pod("a"), 1, draft(1), FLUSHED).await;
    assert!(matches!(missing, Err(StoreError::NotFound)), "{missing:?}");
    let missing = store.delete(&pod("a"), 1, draft(1), FLUSHED).await;
    assert!(matches!(missing, Err(StoreError::NotFound)), "{missing:?}");
    let old = create(&store, pod("a"), 1).await;
    let new = update(&store, &old, 2).await;
    for stale in [old.revision, 0, new.revision + 1] {
        let refused = [
            store.update(&pod("a"), stale, draft(9), FLUSHED).await,
            store.delete(&pod("a"), stale, draft(9), FLUSHED).await,
        ];
        for result in refused {
            assert!(
                matches!(&result, Err(StoreError::Conflict(newest)) if newest.revision == new.revision),
                "{result:?}"
            );
        }
    }
    assert_eq!(store.newest(&pod("a")).unwrap().revision, new.revision);
    assert_eq!(store.get(&pod("a")).unwrap().json, new.json);
    delete(&store, &new, 3).await;
    assert!(store.get(&pod("a")).is_none() && store.newest(&pod("a")).is_none());
}

async fn of_concurrent_changes_one_wins(place: Box<dyn Place>) {
    const WRITERS: u64 = 16;
    const ROUNDS: u64 = 4;
    let store = place.open().await;
    create(&store, pod("counter"), 0).await;
    let increment = async |_| {
        let mut newest = store.newest(&pod("counter")).unwrap();
        for _ in 0..ROUNDS {
            loop {
                let value = content(&newest)["value"].as_u64().unwrap() + 1;
                match store.update(&newest.key, newest.revision, draft(value), FLUSHED).await {
                    Ok(written) => break newest = written,
                    Err(StoreError::Conflict(other)) => newest = other,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    join_all((0..WRITERS).map(increment)).await;
    let last = store.get(&pod("counter")).unwrap();
    assert_eq!(content(&last)["value"], WRITERS * ROUNDS);
    let creates = join_all((0..WRITERS).map(|i| store.create(pod("one"), draft(i), FLUSHED))).await;
    assert_eq!(creates.iter().filter(|result| result.is_ok()).count(), 1);
}

async fn a_write_may_depend_on_its_whole_resource(place: Box<dyn Place>) {
    let store = place.open().await;
    let write = |key: Key, action: Action, seen: Revision| store.write(key, action, FLUSHED, Some(seen));
    let first = write(pod("a"), Action::Create(draft(1)), 0).await.unwrap();
    for seen in [0, first.revision - 1] {
        let refused = write(pod("b"), Action::Create(draft(1)), seen).await;
        assert!(matches!(refused, Err(StoreError::Overtaken)), "{refused:?}");
        let change = Action::Update { expected: first.revision, draft: draft(2) };
        let refused = write(pod("a"), change, seen).await;
        assert!(matches!(refused, Err(StoreError::Overtaken)), "{refused:?}");
    }
    let taken = write(pod("a"), Action::Create(draft(1)), first.revision).await;
    assert!(matches!(taken, Err(StoreError::Exists)), "{taken:?}");
    create(&store, pod("c"), 1).await;
    write(key("nodes", "", "first"), Action::Create(draft(1)), 0).await.unwrap();
    write(pod("b"), Action::Create(draft(1)), first.revision).await.expect("who does not ask does not matter");
}

async fn a_key_can_be_used_again(place: Box<dyn Place>) {
    let store = place.open().await;
    let first = create(&store, pod("a"), 1).await;
    delete(&store, &first, 1).await;
    let second = create(&store, pod("a"), 2).await;
    assert_eq!(second.created, second.revision);
    let stale = store.update(&pod("a"), first.revision, draft(3), FLUSHED).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "{stale:?}");
}

async fn bytes_carry_their_revision(place: Box<dyn Place>) {
    let store = place.open().await;
    let mut entry = create(&store, pod("a"), 0).await;
    // Past 9 and 99, where the digits get more.
    for value in 1..120 {
        assert_eq!(content(&entry)["metadata"]["resourceVersion"], entry.revision.to_string());
        assert_eq!(store.get(&pod("a")).unwrap().json, entry.json);
        entry = update(&store, &entry, value).await;
    }
    let gone = delete(&store, &entry, 7).await;
    assert_eq!(content(&gone)["metadata"]["resourceVersion"], gone.revision.to_string());
    assert_eq!(content(&gone)["value"], 7);
}

async fn lists_are_in_order(place: Box<dyn Place>) {
    let store = place.open().await;
    for (namespace, name) in [("b", "x"), ("a", "y"), ("a-b", "x"), ("a", "x"), ("ab", "x"), ("a", "x.y"), ("a", "x-y")]
    {
        create(&store, key("pods", namespace, name), 1).await;
    }
    create(&store, key("nodes", "", "n"), 1).await;
    let all = ["a/x", "a/x-y", "a/x.y", "a/y", "a-b/x", "ab/x", "b/x"];
    assert_eq!(names(&store, "pods", None, None), all);
    assert_eq!(names(&store, "pods", Some("a"), None), all[..4]);
    assert_eq!(names(&store, "pods", None, Some(("a", "x.y"))), all[3..]);
    assert_eq!(names(&store, "pods", None, Some(("a", "x.z"))), all[3..], "after a key that is gone");
    assert_eq!(names(&store, "pods", Some("a"), Some(("a", "x"))), all[1..4]);
    assert_eq!(names(&store, "pods", Some("a"), Some(("", ""))), all[..4], "nothing from before the namespace");
    assert!(names(&store, "pods", Some("a"), Some(("a", "y"))).is_empty());
    assert!(names(&store, "pods", Some("zz"), None).is_empty() && names(&store, "nothing", None, None).is_empty());
    assert_eq!(names(&store, "nodes", None, None), ["/n"]);
    let snapshot = store.snapshot();
    assert_eq!((snapshot.count("pods", None), snapshot.count("pods", Some("a")), snapshot.count("x", None)), (7, 4, 0));
    assert_eq!(snapshot.resources().map(|r| &**r).collect::<Vec<_>>(), ["nodes", "pods"]);
}

async fn a_snapshot_stays_as_it_is(place: Box<dyn Place>) {
    let store = place.open().await;
    let a = create(&store, pod("a"), 1).await;
    let snapshot = store.snapshot();
    let before = picture(snapshot.state().entries());
    update(&store, &a, 2).await;
    create(&store, pod("b"), 1).await;
    assert_eq!(picture(snapshot.state().entries()), before);
    assert_eq!(snapshot.revision(), a.revision);
    assert_eq!(store.snapshot().count("pods", None), 2);
}

/// A mixed bag of changes; answers the picture at each revision, the first included.
async fn history(store: &Store) -> Vec<(Revision, BTreeMap<Key, (Revision, Revision, Value)>)> {
    let mut pictures = vec![(store.revision(), picture(store.snapshot().state().entries()))];
    for step in 0..60u64 {
        let resource = ["pods", "services"][(step % 2) as usize];
        let key = key(resource, ["a", "b"][(step / 2 % 2) as usize], &format!("n{}", step * 7 % 5));
        match store.newest(&key) {
            None => drop(create(store, key, step).await),
            Some(old) if step % 3 == 0 => drop(delete(store, &old, step).await),
            Some(old) => drop(update(store, &old, step).await),
        }
        let snapshot = store.snapshot();
        pictures.push((snapshot.revision(), picture(snapshot.state().entries())));
    }
    pictures
}

async fn past_revisions_read_exactly(place: Box<dyn Place>) {
    let store = place.open().await;
    let pictures = history(&store).await;
    for (revision, want) in &pictures {
        let snapshot = store.snapshot_at(*revision).unwrap();
        assert_eq!(snapshot.revision(), *revision);
        assert_eq!(&picture(snapshot.state().entries()), want, "at {revision}");
        let pods = want.keys().filter(|key| &*key.resource == "pods").count();
        assert_eq!(snapshot.count("pods", None), pods, "at {revision}");
    }
    let newest = store.revision();
    let future = store.snapshot_at(newest + 1);
    assert!(
        matches!(future, Err(StoreError::Future { requested, newest: n }) if (requested, n) == (newest + 1, newest))
    );
}

/// Follows events from one picture to the next, checking each.
fn replay(picture: &mut BTreeMap<Key, (Revision, Revision, Value)>, after: Revision, events: &[Event]) {
    let mut last = after;
    for event in events {
        assert!(event.revision > last && event.entry.revision == event.revision, "{event:?} after {last}");
        last = event.revision;
        let now = (event.entry.revision, event.entry.created, content(&event.entry));
        let key = event.entry.key.clone();
        let before = if event.deleted { picture.remove(&key) } else { picture.insert(key, now) };
        let previous = event.previous.as_ref().map(|entry| (entry.revision, entry.created, content(entry)));
        assert_eq!(before, previous, "{event:?}");
    }
}

async fn a_watch_sees_each_change_once(place: Box<dyn Place>) {
    let store = place.open().await;
    let start = store.revision();
    let mut watches = [store.watch("pods", None, start).unwrap(), store.watch("services", None, start).unwrap()];
    let pictures = history(&store).await;
    let mut seen = BTreeMap::new();
    for watch in &mut watches {
        let mut events = Vec::new();
        while let Some(batch) = watch.try_next().unwrap() {
            events.extend(batch.iter().cloned());
        }
        replay(&mut seen, start, &events);
        assert_eq!(watch.progress(), store.revision());
    }
    assert_eq!(&seen, &pictures.last().unwrap().1);
    let mut waiting = store.watch("pods", None, store.revision()).unwrap();
    let (events, made) = tokio::join!(next_events(&mut waiting, 1), create(&store, pod("late"), 1));
    assert_eq!((events[0].revision, events[0].deleted, events[0].previous.is_none()), (made.revision, false, true));
}

async fn a_watch_of_a_namespace_sees_only_that(place: Box<dyn Place>) {
    let store = place.open().await;
    let start = store.revision();
    let mut watch = store.watch("pods", Some("a"), start).unwrap();
    create(&store, key("pods", "b", "x"), 1).await;
    let mine = create(&store, key("pods", "a", "x"), 1).await;
    create(&store, key("pods", "ab", "x"), 1).await;
    let events = next_events(&mut watch, 1).await;
    assert_eq!(events.iter().map(|e| e.revision).collect::<Vec<_>>(), [mine.revision]);
    assert!(watch.try_next().unwrap().is_none());
    assert_eq!(watch.progress(), store.revision());
    let (events, mine) = tokio::join!(next_events(&mut watch, 1), update(&store, &mine, 2));
    assert_eq!(events[0].revision, mine.revision);
}

async fn a_watch_starts_anywhere_in_the_window(place: Box<dyn Place>) {
    let store = place.open().await;
    let pictures = history(&store).await;
    let newest = store.revision();
    for (after, picture) in &pictures {
        let mut picture = picture.clone();
        for resource in ["pods", "services"] {
            let mut watch = store.watch(resource, None, *after).unwrap();
            while let Some(batch) = watch.try_next().unwrap() {
                replay(&mut picture, *after, &batch.iter().cloned().collect::<Vec<_>>());
            }
        }
        assert_eq!(picture, pictures.last().unwrap().1, "from {after}");
    }
    let future = store.watch("pods", None, newest + 1).err();
    assert!(matches!(future, Some(StoreError::Future { .. })), "{future:?}");
}

async fn progress_passes_idle_resources(place: Box<dyn Place>) {
    let store = place.open().await;
    let mut watch = store.watch("pods", None, store.revision()).unwrap();
    create(&store, key("services", "a", "x"), 1).await;
    assert_eq!(watch.progress(), store.revision());
    let before = watch.progress();
    let mine = create(&store, pod("a"), 1).await;
    assert_eq!(watch.progress(), before, "not past an event that was not delivered");
    assert_eq!(next_events(&mut watch, 1).await[0].revision, mine.revision);
    assert_eq!(watch.progress(), mine.revision);
}

async fn compaction_ends_what_lags(place: Box<dyn Place>) {
    let store = place.open().await;
    let start = store.revision();
    let mut slow = store.watch("pods", None, start).unwrap();
    let mut idle = store.watch("nodes", None, start).unwrap();
    let a = create(&store, pod("a"), 1).await;
    let a = update(&store, &a, 2).await;
    store.compact(a.revision);
    let lost = slow.try_next().err();
    assert!(
        matches!(lost, Some(StoreError::Compacted { requested, oldest }) if requested == start && oldest == a.revision)
    );
    let late = store.watch("pods", None, start).err();
    assert!(matches!(late, Some(StoreError::Compacted { .. })), "{late:?}");
    let past = store.snapshot_at(start).err();
    assert!(matches!(past, Some(StoreError::Compacted { .. })), "{past:?}");
    assert!(idle.try_next().unwrap().is_none(), "missed nothing");
    assert_eq!(store.snapshot_at(a.revision).unwrap().count("pods", None), 1);
    update(&store, &a, 3).await;
    let mut fresh = store.watch("pods", None, a.revision).unwrap();
    assert_eq!(next_events(&mut fresh, 1).await[0].revision, store.revision());
}

async fn relaxed_writes_keep_order_and_show_when_asked(place: Box<dyn Place>) {
    let store = place.open().await;
    let start = store.revision();
    let lease = key("leases", "kube-system", "leader");
    let mut watch = store.watch("leases", None, start).unwrap();
    let mut entry = store.create(lease.clone(), draft(0), Durability::Relaxed).await.unwrap();
    for value in 1..5 {
        assert_eq!(store.newest(&lease).unwrap().revision, entry.revision, "writers see it at once");
        entry = store.update(&lease, entry.revision, draft(value), Durability::Relaxed).await.unwrap();
        let read = store.consistent("leases").await.unwrap();
        assert_eq!(read.find(&lease).unwrap().revision, entry.revision);
        assert!(read.revision() >= entry.revision);
    }
    let pod = create(&store, pod("a"), 1).await;
    assert!(pod.revision > entry.revision);
    assert_eq!(store.get(&lease).unwrap().revision, entry.revision, "what comes later brings along what came before");
    let events = next_events(&mut watch, 5).await;
    assert_eq!(events.iter().map(|e| e.revision).collect::<Vec<_>>(), (start + 1..=start + 5).collect::<Vec<_>>());
    store.create(key("leases", "a", "b"), draft(0), Durability::Relaxed).await.unwrap();
    assert_eq!(next_events(&mut watch, 1).await.len(), 1, "nobody asks, and still it comes");
}

async fn waiting_for_a_revision_ends_when_it_is_there(place: Box<dyn Place>) {
    let store = place.open().await;
    let next = store.revision() + 1;
    store.wait_for(next - 1).await.unwrap();
    let (waited, made) = tokio::join!(store.wait_for(next), create(&store, pod("a"), 1));
    waited.unwrap();
    assert_eq!(made.revision, next);
    let (waited, closed) = tokio::join!(store.wait_for(next + 1), store.close());
    closed.unwrap();
    assert!(matches!(waited, Err(StoreError::Closed)), "{waited:?}");
}

async fn a_closed_store_refuses_writes_and_ends_watches(place: Box<dyn Place>) {
    let store = place.open().await;
    let mut watch = store.watch("pods", None, store.revision()).unwrap();
    let a = create(&store, pod("a"), 1).await;
    let relaxed = store.create(pod("b"), draft(1), Durability::Relaxed).await.unwrap();
    store.close().await.unwrap();
    let refused = store.create(pod("c"), draft(1), FLUSHED).await;
    assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    let events = next_events(&mut watch, 2).await;
    assert_eq!((events[0].revision, events[1].revision), (a.revision, relaxed.revision));
    assert!(matches!(watch.next().await, Err(StoreError::Closed)));
    assert_eq!(store.snapshot().count("pods", None), 2, "reads go on");
}

async fn everything_is_there_after_reopening(place: Box<dyn Place>) {
    let store = place.open().await;
    history(&store).await;
    store.create(key("leases", "a", "b"), draft(0), Durability::Relaxed).await.unwrap();
    store.close().await.unwrap();
    let before = (store.revision(), picture(store.snapshot().state().entries()));
    let store = place.open().await;
    assert_eq!((store.revision(), picture(store.snapshot().state().entries())), before);
    for entry in store.snapshot().state().entries() {
        assert_eq!(store.newest(&entry.key).unwrap().revision, entry.revision);
        update(&store, entry, 1).await;
    }
}

async fn revisions_go_on_after_reopening(place: Box<dyn Place>) {
    let store = place.open().await;
    let a = create(&store, pod("a"), 1).await;
    let mut last = delete(&store, &a, 1).await.revision;
    store.close().await.unwrap();
    // A deletion last, then nothing at all: both leave no object that remembers the revision.
    for _ in 0..3 {
        let store = place.open().await;
        assert!(store.revision() == last || store.is_shared() && store.revision() > last);
        last = store.revision();
        store.close().await.unwrap();
    }
    for round in 0..3 {
        let store = place.open().await;
        let made = create(&store, pod(&format!("b{round}")), 1).await;
        assert!(made.revision == last + 1 || store.is_shared() && made.revision > last);
        last = made.revision;
        store.close().await.unwrap();
    }
}

async fn watches_go_on_after_reopening(place: Box<dyn Place>) {
    let store = place.open().await;
    let pictures = history(&store).await;
    store.close().await.unwrap();
    let store = place.open().await;
    for (after, picture) in &pictures {
        let mut picture = picture.clone();
        for resource in ["pods", "services"] {
            let mut watch = store.watch(resource, None, *after).unwrap();
            while let Some(batch) = watch.try_next().unwrap() {
                replay(&mut picture, *after, &batch.iter().cloned().collect::<Vec<_>>());
            }
        }
        assert_eq!(picture, pictures.last().unwrap().1, "from {after}");
        let past = store.snapshot_at(*after).unwrap();
        assert_eq!(past.revision(), *after);
    }
}
