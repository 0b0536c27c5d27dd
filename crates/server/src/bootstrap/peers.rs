//! The other servers of the cluster, where they share a store: all together are the endpoints of the Service
//! `kubernetes` (`pkg/controlplane/reconcilers/lease.go`).
//!
//! Each keeps an entry under its address and writes it again and again. Whose entry stays the same for too
//! long is gone: by the clock of whoever looks, so that no two clocks need to agree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_store::{Draft, Durability, Key, Revision, Snapshot, Store, StoreError};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Server;

const RESOURCE: &str = "masterleases";
/// Upstream's DefaultEndpointReconcilerInterval and DefaultEndpointReconcilerTTL.
const RENEWAL: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(15);

pub struct Peers {
    /// `None`: nobody could reach us, or there is nobody else.
    own: Option<IpAddr>,
    seen: Mutex<Sightings>,
    /// Rings when somebody came or went.
    pub bell: Notify,
}

impl Peers {
    pub fn new(store: &Store, own: IpAddr) -> Self {
        let own = Some(own).filter(|own| store.is_shared() && !own.is_loopback() && !own.is_unspecified());
        Self { own, seen: Mutex::default(), bell: Notify::new() }
    }

    /// Those of all servers but this one.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.lock().live.clone()
    }

    /// Says that this server is there, and looks who else is.
    pub async fn renew(&self, store: &Store) -> Result<(), StoreError> {
        let Some(own) = self.own else { return Ok(()) };
        let draft = Draft::encode(&json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": own.to_string()},
            "subsets": [{"addresses": [{"ip": own.to_string()}]}],
        }));
        let key = key(own);
        let written = match store.newest(&key) {
            Some(entry) => store.update(&key, entry.revision, draft, Durability::Relaxed).await,
            None => store.create(key, draft, Durability::Relaxed).await,
        };
        match written {
            // Nobody else has this address: we said so twice at once.
            Ok(_) | Err(StoreError::Conflict(_) | StoreError::Exists) => {}
            Err(error) => return Err(error),
        }
        self.look(&store.snapshot());
        Ok(())
    }

    /// Until `stop`; then says that this server is gone.
    pub async fn run(&self, server: &Server, stop: &CancellationToken) -> Result<(), StoreError> {
        let (store, Some(own)) = (&server.store, self.own) else { return Ok(()) };
        let mut changes = store.watch(RESOURCE, None, store.revision())?;
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(due) => {
                    due = Instant::now() + RENEWAL;
                    if let Err(error) = self.renew(store).await {
                        tracing::warn!(%error, "telling other servers that this one is there failed");
                    }
                }
                changed = changes.next() => {
                    changed?;
                    self.look(&store.snapshot());
                }
            }
        }
        let key = key(own);
        if let Some(entry) = store.newest(&key) {
            store.delete(&key, entry.revision, Draft::encode(&json!({})), Durability::Flushed).await?;
        }
        Ok(())
    }

    fn look(&self, snapshot: &Snapshot) {
        let entries = snapshot.range(RESOURCE, None, None);
        let found = entries.filter_map(|entry| Some((entry.key.name.parse().ok()?, entry.revision)));
        if self.lock().look(found.filter(|(address, _)| Some(*address) != self.own), Instant::now()) {
            self.bell.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sightings> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(address: IpAddr) -> Key {
    Key { resource: RESOURCE.into(), namespace: Arc::from(""), name: address.to_string().into() }
}

#[derive(Default)]
struct Sightings {
    /// The last sign of life, and when it was new.
    last: BTreeMap<IpAddr, (Revision, Instant)>,
    live: BTreeSet<IpAddr>,
}

impl Sightings {
    /// Whether somebody came or went.
    fn look(&mut self, found: impl Iterator<Item = (IpAddr, Revision)>, now: Instant) -> bool {
        let found: BTreeMap<IpAddr, Revision> = found.collect();
        self.last.retain(|address, _| found.contains_key(address));
        for (address, revision) in found {
            let last = self.last.entry(address).or_insert((revision, now));
            if last.0 != revision {
                *last = (revision, now);
            }
        }
        let fresh = |(_, (_, since)): &(&IpAddr, &(Revision, Instant))| now.duration_since(*since) < LIFETIME;
        let live: BTreeSet<IpAddr> = self.last.iter().filter(fresh).map(|(address, _)| *address).collect();
        std::mem::replace(&mut self.live, live.clone()) != live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_nothing_new_is_gone() {
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let start = Instant::now();
        let mut seen = Sightings::default();
        let mut look = |found: &[(IpAddr, Revision)], seconds| {
            let changed = seen.look(found.iter().copied(), start + Duration::from_secs(seconds));
            (changed, seen.live.iter().copied().collect::<Vec<_>>())
        };
        assert_eq!(look(&[(one, 5)], 0), (true, vec![one]));
        assert_eq!(look(&[(one, 7), (other, 8)], 10), (true, vec![one, other]));
        assert_eq!(look(&[(one, 9), (other, 8)], 20), (false, vec![one, other]));
        assert_eq!(look(&[(one, 9), (other, 8)], 25), (true, vec![one]));
        assert_eq!(look(&[(one, 9), (other, 10)], 26), (true, vec![one, other]));
        assert_eq!(look(&[(other, 10)], 27), (true, vec![other]), "it said so");
    }
}
