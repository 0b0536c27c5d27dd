//! Cluster IPs: the ranges that ServiceCIDRs name, and what is taken of them
//! (`pkg/registry/core/service/ipallocator`, KEP 1880).
//!
//! An address is taken or free whatever ranges there are: ranges may overlap, come and go.

use std::net::IpAddr;

use orlop_api::cidr::{Cidr, address_of, number_of};
use orlop_api::{Value, meta};
use orlop_store::{Revision, Snapshot};

use super::pool::{Band, PoolError, Taken};
use super::{ServiceConfig, texts};

pub const SERVICE_CIDRS: &str = "networking.k8s.io/servicecidrs";
/// The ServiceCIDR of the ranges the server was configured with.
pub const DEFAULT_SERVICE_CIDR: &str = "kubernetes";

/// Upstream draws from no larger IPv6 network.
const SHORTEST_IPV6_PREFIX: u8 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

#[derive(Default)]
pub struct IpPool {
    /// Those of ServiceCIDRs that are ready and stay, in the order in which they are drawn from.
    ranges: Vec<Range>,
    /// The versions of the ServiceCIDRs they were read from.
    read: Option<Vec<Revision>>,
    v4: Taken,
    v6: Taken,
}

#[derive(Clone, Copy)]
struct Range {
    cidr: Cidr,
    band: Band,
}

/// How full a range is.
pub struct Usage {
    pub range: Cidr,
    pub allocated: u128,
    pub available: u128,
}

impl IpPool {
    /// Draws from the ranges of this snapshot from now on. They are read anew only when a ServiceCIDR has changed.
    pub fn follow(&mut self, snapshot: &Snapshot, config: &ServiceConfig) {
        let versions = snapshot.range(SERVICE_CIDRS, None, None).map(|entry| entry.revision).collect();
        if self.read.as_ref() == Some(&versions) {
            return;
        }
        let objects = read(snapshot);
        let ready = objects.iter().filter(|object| is_ready(object)).flat_map(cidrs_of);
        self.set_ranges(ready.chain(unborn(&objects, config)));
        self.read = Some(versions);
    }

    fn set_ranges(&mut self, cidrs: impl Iterator<Item = Cidr>) {
        self.ranges = cidrs.filter_map(Range::new).collect();
    }

    /// What a stored Service holds.
    pub fn take(&mut self, ip: IpAddr) {
        self.taken(Family::of(ip)).insert(number_of(ip));
    }

    pub fn release(&mut self, ip: IpAddr) {
        self.taken(Family::of(ip)).remove(number_of(ip));
    }

    /// This very address.
    pub fn allocate(&mut self, ip: IpAddr) -> Result<(), PoolError> {
        match () {
            () if self.range_of(ip).is_none() => Err(PoolError::IpElsewhere),
            () if !self.taken(Family::of(ip)).insert(number_of(ip)) => Err(PoolError::IpTaken),
            () => Ok(()),
        }
    }

    /// Any address: of the first range that has one.
    pub fn allocate_next(&mut self, family: Family) -> Result<IpAddr, PoolError> {
        let bands: Vec<Band> = self.of(family).map(|range| range.band).collect();
        let taken = self.taken(family);
        let found = bands.into_iter().find_map(|band| band.pick(taken)).ok_or(PoolError::Full)?;
        Ok(address_of(found, family == Family::V6))
    }

    /// Whether a dry run may have this address; it does not ask who holds it.
    pub fn try_allocate(&self, ip: IpAddr) -> Result<(), PoolError> {
        let first = self.of(Family::of(ip)).next().ok_or(PoolError::NotReady)?;
        if self.range_of(ip).is_some() { Ok(()) } else { Err(PoolError::IpOutside { ip, cidr: first.cidr }) }
    }

    /// What a dry run shows instead of an address: a network's own.
    pub fn try_allocate_next(&self, family: Family) -> Result<IpAddr, PoolError> {
        self.of(family).next().map(|range| range.cidr.network()).ok_or(PoolError::NotReady)
    }

    /// The range that an address is, or would be, drawn from.
    pub fn range_of(&self, ip: IpAddr) -> Option<Cidr> {
        self.ranges.iter().map(|range| range.cidr).find(|cidr| cidr.has_host(ip))
    }

    pub fn ranges_of(&self, family: Family) -> impl Iterator<Item = Cidr> {
        self.of(family).map(|range| range.cidr)
    }

    pub fn usage(&self) -> impl Iterator<Item = Usage> {
        self.ranges.iter().map(|Range { cidr, band }| {
            let taken = if cidr.network().is_ipv4() { &self.v4 } else { &self.v6 };
            let allocated = if band.first <= band.last { taken.count(band.first, band.last) } else { 0 };
            let hosts = (band.last + 1).saturating_sub(band.first);
            Usage { range: *cidr, allocated, available: hosts - allocated }
        })
    }

    fn of(&self, family: Family) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(move |range| Family::of(range.cidr.network()) == family)
    }

    fn taken(&mut self, family: Family) -> &mut Taken {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

impl Range {
    fn new(cidr: Cidr) -> Option<Self> {
        if cidr.network().is_ipv6() && cidr.prefix() < SHORTEST_IPV6_PREFIX {
            return None;
        }
        let ((first, last), size) = (cidr.hosts(), cidr.size());
        // Upstream's calculateRangeOffset: a sixteenth, at least 16, at most 256; none in tiny ranges.
        let band = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        Some(Self { cidr, band: Band { first, last, dynamic: first + band } })
    }
}

/// A range is ready until somebody says that it is not: no controller need run.
fn is_ready(object: &Value) -> bool {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    !meta::is_terminating(object) && ready.is_none_or(|condition| condition["status"] == "True")
}

/// The ranges of every ServiceCIDR, those too that nothing more is drawn from.
pub fn all_ranges(snapshot: &Snapshot, config: &ServiceConfig) -> Vec<Cidr> {
    let objects = read(snapshot);
    objects.iter().flat_map(cidrs_of).chain(unborn(&objects, config)).collect()
}

fn read(snapshot: &Snapshot) -> Vec<Value> {
    let entries = snapshot.range(SERVICE_CIDRS, None, None);
    entries.map(|entry| serde_json::from_slice(&entry.json).unwrap_or_default()).collect()
}

fn cidrs_of(object: &Value) -> impl Iterator<Item = Cidr> {
    texts(&object["spec"]["cidrs"]).filter_map(|text| text.parse().ok())
}

/// The default ServiceCIDR's ranges while it is not there: this server is about to make it.
fn unborn(objects: &[Value], config: &ServiceConfig) -> impl Iterator<Item = Cidr> {
    let born = objects.iter().any(|object| meta::name(object) == DEFAULT_SERVICE_CIDR);
    config.cidrs.iter().copied().filter(move |_| !born)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pool(cidrs: &[&str]) -> IpPool {
        let mut pool = IpPool::default();
        pool.set_ranges(cidrs.iter().map(|text| text.parse().unwrap()));
        pool
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_address_once_upper_part_first() {
        let mut pool = pool(&["10.0.0.0/24"]);
        let mut seen = BTreeSet::new();
        for n in 0..254 {
            let ip = pool.allocate_next(Family::V4).unwrap();
            assert!(seen.insert(ip));
            let IpAddr::V4(v4) = ip else { panic!("{ip}") };
            // 254 usable, the first 16 kept for pinned ones.
            assert_eq!(v4.octets()[3] > 16, n < 238, "pick {n} was {ip}");
        }
        assert_eq!(pool.allocate_next(Family::V4), Err(PoolError::Full));
        pool.release(ip("10.0.0.7"));
        assert_eq!(pool.allocate_next(Family::V4), Ok(ip("10.0.0.7")));
        assert_eq!(pool.allocate_next(Family::V6), Err(PoolError::Full));
    }

    #[test]
    fn one_range_after_the_other() {
        let mut pool = pool(&["10.0.0.0/30", "fd00::/126", "10.0.1.0/30"]);
        let drawn: BTreeSet<IpAddr> = (0..2).map(|_| pool.allocate_next(Family::V4).unwrap()).collect();
        assert_eq!(drawn, [ip("10.0.0.1"), ip("10.0.0.2")].into());
        let drawn: BTreeSet<IpAddr> = (0..2).map(|_| pool.allocate_next(Family::V4).unwrap()).collect();
        assert_eq!(drawn, [ip("10.0.1.1"), ip("10.0.1.2")].into());
        assert_eq!(pool.allocate_next(Family::V4), Err(PoolError::Full));
        let drawn: BTreeSet<IpAddr> = (0..3).map(|_| pool.allocate_next(Family::V6).unwrap()).collect();
        assert_eq!(drawn, [ip("fd00::1"), ip("fd00::2"), ip("fd00::3")].into());
    }

    #[test]
    fn an_address_of_two_ranges_is_taken_once_and_stays_so_without_them() {
        let mut pool = pool(&["10.0.0.0/28", "10.0.0.0/24"]);
        assert_eq!(pool.allocate(ip("10.0.0.9")), Ok(()));
        assert_eq!(pool.allocate(ip("10.0.0.9")), Err(PoolError::IpTaken));
        assert_eq!(pool.allocate(ip("10.0.0.15")), Ok(()), "only the smaller range's broadcast address");
        pool.set_ranges(std::iter::empty());
        assert_eq!(pool.allocate(ip("10.0.0.8")), Err(PoolError::IpElsewhere));
        pool.set_ranges(["10.0.0.8/29".parse().unwrap()].into_iter());
        assert_eq!(pool.allocate(ip("10.0.0.9")), Err(PoolError::IpTaken));
        pool.release(ip("10.0.0.9"));
        assert_eq!(pool.allocate(ip("10.0.0.9")), Ok(()));
    }

    #[test]
    fn usage_is_counted_by_range() {
        let mut pool = pool(&["10.0.0.0/29", "10.0.0.0/24", "fd00::/126", "10.1.0.0/31"]);
        for taken in ["10.0.0.1", "10.0.0.2", "10.0.0.7", "fd00::3", "10.9.0.0"] {
            pool.take(ip(taken));
        }
        let usage: Vec<(u128, u128)> = pool.usage().map(|usage| (usage.allocated, usage.available)).collect();
        assert_eq!(usage, [(2, 4), (3, 251), (1, 2), (0, 0)]);
    }

    #[test]
    fn pinned_values() {
        let mut pool = pool(&["10.96.0.0/12", "10.1.0.0/16"]);
        assert_eq!(pool.allocate(ip("10.96.0.10")), Ok(()));
        let error = |error: Result<(), PoolError>| error.unwrap_err().to_string();
        assert_eq!(error(pool.allocate(ip("10.96.0.10"))), "provided IP is already allocated");
        assert_eq!(error(pool.allocate(ip("10.2.0.1"))), "the provided network does not match the current range");
        assert_eq!(pool.try_allocate(ip("10.96.0.10")), Ok(()));
        let outside =
            "the provided IP (10.2.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12".to_owned();
        assert_eq!(error(pool.try_allocate(ip("10.2.0.1"))), outside);
        assert_eq!(error(pool.try_allocate(ip("fd00::1"))), "allocator not ready");
        assert_eq!(pool.try_allocate_next(Family::V4), Ok(ip("10.96.0.0")));
    }

    #[test]
    fn networks_without_hosts_have_nothing_to_give_and_huge_ones_are_passed_over() {
        for none in ["10.0.0.0/31", "10.0.0.0/32", "fd00::/128", "fd00::/63", "::/0"] {
            let mut pool = pool(&[none]);
            for family in [Family::V4, Family::V6] {
                assert_eq!(pool.allocate_next(family), Err(PoolError::Full), "{none}");
            }
        }
        let mut wide = pool(&["fd00::/64"]);
        assert!(number_of(wide.allocate_next(Family::V6).unwrap()) > number_of(ip("fd00::100")));
    }

    #[test]
    fn only_what_is_ready_and_stays_is_drawn_from() {
        let object = |status: Value| serde_json::json!({"metadata": {}, "status": status});
        let with = |status: &str| object(serde_json::json!({"conditions": [{"type": "Ready", "status": status}]}));
        assert!(is_ready(&object(Value::Null)) && is_ready(&with("True")));
        assert!(!is_ready(&with("False")) && !is_ready(&with("Unknown")));
        let mut leaving = with("True");
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(!is_ready(&leaving));
    }
}
