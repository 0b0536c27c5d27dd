//! What Services draw from: cluster IPs and node ports (`pkg/registry/core/service/storage/alloc.go`).
//!
//! The pools are derived state: filled from the stored Services at start, kept by the hooks around
//! their writes. A reservation lives from the hook to the commit; what does not commit goes back.
//! Which ranges cluster IPs come from, the stored ServiceCIDRs say ([`ip_pool`]).

mod cluster_ips;
mod families;
mod hooks;
mod ip_pool;
pub(crate) mod metrics;
mod node_ports;
mod pool;
mod turn;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orlop_api::Value;
use orlop_api::cidr::Cidr;
use orlop_store::{Entry, Snapshot, Watch};

pub use hooks::ServiceHooks;
use ip_pool::IpPool;
pub use ip_pool::{DEFAULT_SERVICE_CIDR, Family, SERVICE_CIDRS, all_ranges};
use pool::PortPool;

/// The ranges of a cluster.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// One per family at most; the first is the default family.
    pub cidrs: Vec<Cidr>,
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        let cidr = Cidr::of(Ipv4Addr::new(10, 96, 0, 0).into(), 12);
        Self { cidrs: vec![cidr], node_ports: 30000..=32767 }
    }
}

impl ServiceConfig {
    /// The address of the `kubernetes` Service: the first of the default range.
    pub fn kubernetes_ip(&self) -> Option<IpAddr> {
        self.cidrs.first().map(|cidr| cidr.nth(1))
    }
}

pub struct Allocators {
    config: ServiceConfig,
    pools: Mutex<Pools>,
    /// Held by whoever allocates, where other servers do, too; with what the pools have not heard of yet.
    turns: tokio::sync::Mutex<Option<Watch>>,
}

struct Pools {
    ips: IpPool,
    ports: PortPool,
}

impl Allocators {
    pub fn new(config: ServiceConfig) -> Self {
        let pools = Mutex::new(Pools::new(&config));
        Self { config, pools, turns: tokio::sync::Mutex::default() }
    }

    pub fn config(&self) -> &ServiceConfig {
        &self.config
    }

    /// Takes over what the stored Services hold.
    pub fn repair(&self, snapshot: &Snapshot) {
        snapshot.range("services", None, None).for_each(|entry| self.take(&Held::by(entry)));
    }

    /// Forgets everything but what the stored Services hold.
    fn refill(&self, snapshot: &Snapshot) {
        *self.lock() = Pools::new(&self.config);
        self.repair(snapshot);
    }

    fn lock(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, held: &Held) {
        let mut pools = self.lock();
        held.ips.iter().for_each(|ip| pools.ips.take(*ip));
        held.ports.iter().for_each(|port| pools.ports.take(*port));
    }

    fn release(&self, held: &Held) {
        let mut pools = self.lock();
        held.ips.iter().for_each(|ip| pools.ips.release(*ip));
        held.ports.iter().for_each(|port| pools.ports.release(*port));
    }

    /// For `/metrics`.
    pub(crate) fn measure(&self, snapshot: &Snapshot) {
        let mut pools = self.lock();
        pools.ips.follow(snapshot, &self.config);
        metrics::METRICS.set_usage(pools.ips.usage());
    }

    /// The families Services can have, the default one first.
    fn families(&self) -> Vec<Family> {
        self.config.cidrs.iter().map(|cidr| Family::of(cidr.network())).collect()
    }
}

impl Pools {
    fn new(config: &ServiceConfig) -> Self {
        Self { ips: IpPool::default(), ports: PortPool::new(config.node_ports.clone()) }
    }
}

pub const ADDRESSES: &str = "networking.k8s.io/ipaddresses";
/// Whose IPAddresses follow from Services.
pub const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub const ALLOCATOR: &str = "ipallocator.k8s.io";

/// Addresses and ports taken from the pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    ips: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Held {
    fn by(entry: &Entry) -> Self {
        Self::of(&serde_json::from_slice(&entry.json).unwrap_or_default())
    }

    /// Everything a stored Service holds.
    fn of(service: &Value) -> Self {
        let spec = &service["spec"];
        let mut held = Self::default();
        if spec["type"] != "ExternalName" {
            held.ips.extend(texts(&spec["clusterIPs"]).filter_map(|ip| ip.parse::<IpAddr>().ok()));
        }
        held.ports.extend(node_ports::of(service));
        if node_ports::needs_health_check(service) {
            held.ports.extend(port(&spec["healthCheckNodePort"]));
        }
        held.ports.sort_unstable();
        held.ports.dedup();
        held
    }
}

/// Releases what it still holds when the write did not happen.
struct Reservation {
    allocators: Arc<Allocators>,
    snapshot: Snapshot,
    taken: Held,
    dry_run: bool,
    /// Node ports that a dry run has shown.
    shown: Vec<i64>,
}

impl Reservation {
    fn new(allocators: &Arc<Allocators>, snapshot: Snapshot, dry_run: bool) -> Self {
        Self { allocators: allocators.clone(), snapshot, taken: Held::default(), dry_run, shown: Vec::new() }
    }

    /// Whether somebody made the IPAddress of an address, so that no Service gets it. Those that Services have are
    /// made after them, and the pools know them.
    fn is_reserved(&self, ip: IpAddr) -> bool {
        let entry = self.snapshot.get(ADDRESSES, "", &ip.to_string());
        let address = entry.and_then(|entry| serde_json::from_slice::<Value>(&entry.json).ok());
        address.is_some_and(|address| address["metadata"]["labels"][MANAGED_BY] != ALLOCATOR)
    }

    /// The write is done: keep what was taken, give back what the old object no longer needs.
    fn commit(mut self, released: &Held) {
        self.taken = Held::default();
        if !self.dry_run {
            self.allocators.release(released);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.allocators.release(&self.taken);
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What stands in a field for a port, whatever it is; 0 is none.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().filter(|number| *number != 0)
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}
