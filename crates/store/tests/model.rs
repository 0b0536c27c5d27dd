//! Random writes, crashes and recoveries against a plain model, from one seed each.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{Picture, draft, key, open, picture};
use futures_util::future::{BoxFuture, join_all};
use orlop_store::disk::{Faults, SimDisk};
use orlop_store::{Durability, Entry, Key, Revision, Store, StoreError, UNFLUSHED_REVISIONS};

const SEEDS: u64 = 250;
/// Small, so that files are made and given up all the time.
const SEGMENT: u64 = 4096;

/// What must have happened, as long as writes are decided in the order of their calls.
struct Model {
    rng: fastrand::Rng,
    /// The state after each revision; the last is the newest.
    past: Vec<(Revision, Picture)>,
    /// Last revision of an acknowledged flushed write.
    acknowledged: Revision,
    /// Every revision that somebody was told, and never another.
    told: BTreeSet<Revision>,
}

#[derive(Debug)]
enum Op {
    Create(Key),
    Update(Key, Revision),
    Delete(Key, Revision),
}

/// A write under way and the revision that it must get, if any.
struct Expected {
    revision: Option<Revision>,
    durability: Durability,
    result: BoxFuture<'static, Result<Arc<Entry>, StoreError>>,
}

impl Model {
    fn new(seed: u64, start: Revision) -> Model {
        let rng = fastrand::Rng::with_seed(seed);
        Model { rng, past: vec![(start, Picture::new())], acknowledged: start, told: BTreeSet::new() }
    }

    fn newest(&self) -> &(Revision, Picture) {
        self.past.last().unwrap()
    }

    fn op(&mut self) -> Op {
        let (resource, namespace) = (["pods", "leases"][self.rng.usize(..2)], ["a", "b"][self.rng.usize(..2)]);
        let key = key(resource, namespace, &format!("n{}", self.rng.u8(..6)));
        let current = self.newest().1.get(&key).map_or(0, |(revision, _)| *revision);
        // Now and then with a stale revision, or on what is not there.
        let expected = if self.rng.u8(..8) == 0 { current / 2 } else { current };
        match self.rng.u8(..10) {
            0 => Op::Create(key),
            1..3 => Op::Delete(key, expected),
            _ if current == 0 => Op::Create(key),
            _ => Op::Update(key, expected),
        }
    }

    /// Starts a random write, with its effect already in the model.
    fn write(&mut self, store: &Store) -> Expected {
        let op = self.op();
        let bytes = if self.rng.u8(..20) == 0 { 6000 } else { self.rng.usize(..400) };
        let durability = if self.rng.u8(..3) == 0 { Durability::Relaxed } else { Durability::Flushed };
        let text = format!("{:x}", self.rng.u64(..));
        let (revision, mut picture) = self.newest().clone();
        let next = revision + 1;
        let json = |draft: &orlop_store::Draft| {
            let (head, tail) = draft.json.split_at(draft.hole);
            [head, next.to_string().as_bytes(), tail].concat()
        };
        let draft = draft(&text, bytes);
        let (key, known) = match &op {
            Op::Create(key) => (key, !picture.contains_key(key)),
            Op::Update(key, expected) | Op::Delete(key, expected) => {
                (key, picture.get(key).is_some_and(|(revision, _)| revision == expected))
            }
        };
        if known {
            match &op {
                Op::Delete(..) => drop(picture.remove(key)),
                _ => drop(picture.insert(key.clone(), (next, json(&draft)))),
            }
            self.past.push((next, picture));
        }
        let store = store.clone();
        let result = async move {
            match op {
                Op::Create(key) => store.create(key, draft, durability).await,
                Op::Update(key, expected) => store.update(&key, expected, draft, durability).await,
                Op::Delete(key, expected) => store.delete(&key, expected, draft, durability).await,
            }
        };
        Expected { revision: known.then_some(next), durability, result: Box::pin(result) }
    }

    fn tell(&mut self, revisions: impl IntoIterator<Item = Revision>) {
        for revision in revisions {
            assert!(self.told.insert(revision), "revision {revision} was given twice");
        }
    }

    /// What a restart shows must be some state from the acknowledged one on; time goes back to there. After
    /// a crash revisions go on past all that were told.
    fn recovered(&mut self, store: &Store) {
        let revision = store.revision();
        let skips = self.past.iter().all(|(known, _)| *known != revision);
        let durable = if skips { revision - UNFLUSHED_REVISIONS } else { revision };
        assert!(durable >= self.acknowledged, "{durable} < {}", self.acknowledged);
        assert!(self.told.last().is_none_or(|told| *told <= revision), "told {:?}, at {revision}", self.told.last());
        self.past.retain(|(known, _)| *known <= durable);
        let (newest, state) = self.newest().clone();
        assert_eq!(newest, durable, "a revision nobody wrote");
        assert_eq!(picture(&store.snapshot()), state);
        if skips {
            self.past.push((revision, state));
        }
        self.acknowledged = revision;
    }

    /// Every revision in the window reads as it was.
    fn check_window(&mut self, store: &Store) {
        let oldest = store.stats().oldest;
        for (revision, state) in &self.past {
            match store.snapshot_at(*revision) {
                Err(StoreError::Future { newest, .. }) => assert!(newest < *revision),
                Ok(snapshot) => assert_eq!(&picture(&snapshot), state, "at {revision}"),
                Err(error) => assert!(*revision < oldest && matches!(error, StoreError::Compacted { .. }), "{error}"),
            }
        }
    }
}

/// Runs some writes at once, to their end.
async fn burst(model: &mut Model, store: &Store, count: usize) {
    let writes: Vec<Expected> = (0..count).map(|_| model.write(store)).collect();
    let check = |Expected { revision, durability, result }| async move {
        let result = result.await;
        match (&result, revision) {
            (Ok(entry), Some(revision)) if entry.revision == revision => {}
            (Err(StoreError::Exists | StoreError::NotFound | StoreError::Conflict(_)), None) => {}
            _ => panic!("expected {revision:?}, got {result:?}"),
        }
        revision.map(|revision| (revision, durability))
    };
    let written: Vec<_> = join_all(writes.into_iter().map(check)).await.into_iter().flatten().collect();
    model.tell(written.iter().map(|(revision, _)| *revision));
    let flushed = written.into_iter().filter(|(_, durability)| *durability == Durability::Flushed);
    model.acknowledged = flushed.map(|(revision, _)| revision).chain([model.acknowledged]).max().unwrap();
    let durable = store.revision();
    assert!(durable >= model.acknowledged);
    let (_, state) = model.past.iter().find(|(revision, _)| *revision == durable).expect("a revision somebody wrote");
    assert_eq!(&picture(&store.snapshot()), state);
}

async fn life(seed: u64) {
    let mut disk = SimDisk::new();
    let mut store = open(&disk, SEGMENT).await.unwrap();
    let mut model = Model::new(seed, store.revision());
    for _ in 0..8 {
        disk.set_faults(Faults { flush_delay: Duration::from_millis(1), ..Faults::default() });
        for _ in 0..model.rng.usize(..12) {
            let count = model.rng.usize(1..8);
            burst(&mut model, &store, count).await;
        }
        if model.rng.bool() {
            model.check_window(&store);
        }
        if model.rng.u8(..4) == 0 {
            store.close().await.unwrap();
            model.acknowledged = model.newest().0;
        } else {
            // Power goes while some writes are under way.
            let writes: Vec<Expected> = (0..model.rng.usize(..6)).map(|_| model.write(&store)).collect();
            let (acknowledged, told) = (Cell::new(model.acknowledged), RefCell::default());
            let note = |Expected { durability, result, .. }| {
                let (acknowledged, told): (_, &RefCell<Vec<_>>) = (&acknowledged, &told);
                async move {
                    let Ok(entry) = result.await else { return };
                    told.borrow_mut().push(entry.revision);
                    if durability == Durability::Flushed {
                        acknowledged.set(acknowledged.get().max(entry.revision));
                    }
                }
            };
            let patience = Duration::from_micros(model.rng.u64(..2500));
            let _ = tokio::time::timeout(patience, join_all(writes.into_iter().map(note))).await;
            model.acknowledged = acknowledged.get();
            model.tell(told.into_inner());
        }
        disk = disk.crash(model.rng.u64(..));
        store = open(&disk, SEGMENT).await.unwrap_or_else(|error| panic!("{error}"));
        model.recovered(&store);
        model.check_window(&store);
    }
}

#[test]
fn every_life_follows_the_model() {
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(life(seed))));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
