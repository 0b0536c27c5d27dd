//! An IPAddress for every cluster IP of a Service
//! (`pkg/registry/core/service/ipallocator`, `pkg/registry/core/service/ipallocator/controller/repairip.go`).

mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use orlop_api::cidr::Cidr;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_base::clock;
use orlop_client::Client;
use orlop_client::events::{EventType, Recorder};
use orlop_store::{Entry, Event, Snapshot, StoreError};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::{RETRY, USER_AGENT, send};
use crate::services::{ADDRESSES, ALLOCATOR, Family, MANAGED_BY, SERVICE_CIDRS, all_ranges};
use crate::{Component, Server};
use repair::{Facts, Plan};

const SERVICES: &str = "services";
const PATH: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
/// Source of the events.
const CONTROLLER: &str = "ipallocator-repair-controller";

impl Server {
    /// Keeps the IPAddresses of the Services until `stop`.
    pub(super) async fn keep_addresses(self: Arc<Self>, stop: CancellationToken) {
        let me = self.apiserver();
        let recorder = Recorder::new(Client::new(me.clone(), USER_AGENT), CONTROLLER, "", stop.clone());
        let mut failures = 0;
        while !stop.is_cancelled() {
            let mut keeper = Keeper::new(self.clone(), me.clone(), recorder.clone());
            match stop.run_until_cancelled(keeper.run()).await {
                None | Some(Err(Stopped::Store(StoreError::Closed))) => return,
                Some(Ok(())) => failures = 0,
                Some(Err(error)) => {
                    tracing::debug!(%error, "keeping the addresses of Services failed");
                    failures += 1;
                    stop.run_until_cancelled(tokio::time::sleep(RETRY.delay(failures))).await;
                }
            }
        }
    }
}

/// What is known of the addresses, as far as the watches have told.
struct Keeper {
    server: Arc<Server>,
    me: Component,
    recorder: Recorder,
    /// One Service each, unless something is wrong.
    holders: BTreeMap<IpAddr, BTreeSet<Owner>>,
    ranges: Vec<Cidr>,
    /// When to look at an address again.
    later: BTreeSet<(Timestamp, IpAddr)>,
}

impl Keeper {
    fn new(server: Arc<Server>, me: Component, recorder: Recorder) -> Self {
        let (holders, ranges, later) = Default::default();
        Self { server, me, recorder, holders, ranges, later }
    }

    /// Compares everything once, then follows changes, until something fails or a watch fell behind.
    async fn run(&mut self) -> Result<(), Stopped> {
        let store = self.server.store.clone();
        let revision = store.revision();
        let mut ranges = store.watch(SERVICE_CIDRS, None, revision)?;
        let mut services = store.watch(SERVICES, None, revision)?;
        let mut addresses = store.watch(ADDRESSES, None, revision)?;
        self.compare(&store.snapshot()).await?;
        loop {
            let next = self.later.first().copied();
            tokio::select! {
                biased;
                batch = ranges.next() => {
                    batch?;
                    self.ranges_changed().await?;
                }
                batch = services.next() => {
                    for event in batch?.iter() {
                        self.service_changed(event).await?;
                    }
                }
                batch = addresses.next() => {
                    for event in batch?.iter() {
                        self.address_changed(event).await?;
                    }
                }
                ip = until(next) => {
                    self.later.pop_first();
                    self.review(ip, false).await?;
                }
            }
        }
    }

    async fn compare(&mut self, snapshot: &Snapshot) -> Result<(), StatusError> {
        self.ranges = all_ranges(snapshot, self.server.allocators.config());
        let mut fresh: BTreeMap<IpAddr, bool> = BTreeMap::new();
        for service in snapshot.range(SERVICES, None, None).map(|entry| parsed(entry)) {
            let is_young = clock::now().duration_since(repair::created(&service)) < repair::REQUEST;
            for ip in cluster_ips(&service) {
                self.holders.entry(ip).or_default().insert(owner(&service));
                fresh.insert(ip, is_young);
            }
        }
        let named = snapshot.range(ADDRESSES, None, None).filter_map(|entry| entry.key.name.parse::<IpAddr>().ok());
        named.for_each(|ip| _ = fresh.entry(ip).or_default());
        for (ip, is_fresh) in fresh {
            self.review(ip, is_fresh).await?;
        }
        Ok(())
    }

    /// Tells of Services whose range has gone.
    async fn ranges_changed(&mut self) -> Result<(), StatusError> {
        let now = all_ranges(&self.server.store.snapshot(), self.server.allocators.config());
        let before = std::mem::replace(&mut self.ranges, now);
        let lost = self.holders.keys().copied().filter(|ip| is_in(&before, *ip) && !is_in(&self.ranges, *ip));
        for ip in lost.collect::<Vec<_>>() {
            self.review(ip, false).await?;
        }
        Ok(())
    }

    async fn service_changed(&mut self, event: &Event) -> Result<(), StatusError> {
        let service = parsed(&event.entry);
        let me = owner(&service);
        let now = if event.deleted { BTreeSet::new() } else { cluster_ips(&service) };
        let before = event.previous.as_ref().map(|entry| cluster_ips(&parsed(entry))).unwrap_or_default();
        for ip in before.difference(&now) {
            self.given_back(*ip, &me).await?;
        }
        for ip in now.difference(&before) {
            let holders = self.holders.entry(*ip).or_default();
            holders.insert(me.clone());
            let is_known = self.server.store.snapshot().get(ADDRESSES, "", &ip.to_string()).is_some();
            if holders.len() == 1 && !is_known {
                make(&self.me, *ip, &me).await?;
            } else {
                self.review(*ip, true).await?;
            }
        }
        Ok(())
    }

    async fn given_back(&mut self, ip: IpAddr, by: &Owner) -> Result<(), StatusError> {
        if let Some(holders) = self.holders.get_mut(&ip) {
            holders.remove(by);
        }
        let stored = self.server.store.snapshot().get(ADDRESSES, "", &ip.to_string()).map(|entry| parsed(entry));
        if stored.is_some_and(|address| is_ours(&address) && parent(&address) == *by) {
            remove(&self.me, &ip.to_string()).await?;
        }
        if self.holders.get(&ip).is_some_and(BTreeSet::is_empty) {
            self.holders.remove(&ip);
        }
        Ok(())
    }

    async fn address_changed(&mut self, event: &Event) -> Result<(), StatusError> {
        let Ok(ip) = event.entry.key.name.parse::<IpAddr>() else { return Ok(()) };
        let holder = self.holders.get(&ip);
        let is_settled = match holder {
            None => event.deleted,
            Some(holders) => {
                let mut holders = holders.iter();
                let only = holders.next().filter(|_| holders.next().is_none());
                !event.deleted && only.is_some_and(|only| repair::is_right(&parsed(&event.entry), ip, only))
            }
        };
        if is_settled { Ok(()) } else { self.review(ip, false).await }
    }

    /// Looks at one address as everything stands by now, and puts right what is wrong about it.
    async fn review(&mut self, ip: IpAddr, fresh: bool) -> Result<(), StatusError> {
        let snapshot = self.server.store.snapshot();
        let service = |(namespace, name): &Owner| snapshot.get(SERVICES, namespace, name).map(|entry| parsed(entry));
        let holders = self.holders.get(&ip).into_iter().flatten().filter_map(service);
        let holders = holders.filter(|service| cluster_ips(service).contains(&ip)).collect();
        let address = snapshot.get(ADDRESSES, "", &ip.to_string()).map(|entry| parsed(entry));
        let parent =
            address.as_ref().filter(|address| names_service(address)).and_then(|address| service(&parent(address)));
        let in_range = is_in(&self.ranges, ip);
        let plan = repair::decide(&Facts { ip, holders, address, parent, in_range, fresh, now: clock::now() });
        self.carry_out(ip, plan).await
    }

    async fn carry_out(&mut self, ip: IpAddr, plan: Plan) -> Result<(), StatusError> {
        for note in plan.notes {
            tracing::warn!(reason = note.reason, "{}", note.message);
            let mut event = self.recorder.make(&note.about, EventType::Warning, note.reason, note.message);
            event.action = Some(note.action.to_owned());
            self.recorder.record(event);
        }
        if plan.remove {
            remove(&self.me, &ip.to_string()).await?;
        }
        if let Some(owner) = plan.make_for {
            make(&self.me, ip, &owner).await?;
        }
        self.later.extend(plan.look_at.map(|at| (at, ip)));
        Ok(())
    }
}

/// The address that is next, when it is; never without one.
async fn until(next: Option<(Timestamp, IpAddr)>) -> IpAddr {
    let Some((at, ip)) = next else { return std::future::pending().await };
    tokio::time::sleep(Duration::try_from(at.duration_since(clock::now())).unwrap_or_default()).await;
    ip
}

fn is_in(ranges: &[Cidr], ip: IpAddr) -> bool {
    ranges.iter().any(|range| range.has_host(ip))
}

fn parsed(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.json).unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.message)]
    Refused(StatusError),
}

impl From<StatusError> for Stopped {
    fn from(error: StatusError) -> Self {
        Self::Refused(error)
    }
}

/// Namespace and name of a Service.
type Owner = (String, String);

fn owner(service: &Value) -> Owner {
    (meta::namespace(service).to_owned(), meta::name(service).to_owned())
}

fn parent(address: &Value) -> Owner {
    let part = |field: &str| address["spec"]["parentRef"][field].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

fn names_service(address: &Value) -> bool {
    let parent = &address["spec"]["parentRef"];
    parent["group"].as_str().unwrap_or_default().is_empty() && parent["resource"] == SERVICES
}

fn is_ours(address: &Value) -> bool {
    address["metadata"]["labels"][MANAGED_BY] == ALLOCATOR
}

/// None of a Service that has no address of its own.
fn cluster_ips(service: &Value) -> BTreeSet<IpAddr> {
    let texts = service["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}

async fn make(me: &Component, ip: IpAddr, owner: &Owner) -> Result<(), StatusError> {
    let labels: Map<String, Value> =
        [(FAMILY.to_owned(), Family::of(ip).name().into()), (MANAGED_BY.to_owned(), ALLOCATOR.into())]
            .into_iter()
            .collect();
    let address = json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": ip.to_string(), "labels": labels},
        "spec": {"parentRef": {"resource": "services", "namespace": owner.0, "name": owner.1}},
    });
    match send(me, Method::POST, PATH, &address).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other,
    }
}

async fn remove(me: &Component, name: &str) -> Result<(), StatusError> {
    match send(me, Method::DELETE, &format!("{PATH}/{name}"), &json!({})).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
