//! Pools of addresses and ports: what is taken, and a fair pick of what is not.
//!
//! Both keep a lower band for values that users pin and pick at random above it, and below only
//! when the upper part is full (KEP 3070, KEP 3668).

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use orlop_base::id;

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

/// An address range, `10.96.0.0/12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub network: IpAddr,
    pub prefix: u8,
}

impl Cidr {
    /// `None` for anything but an address, a slash and a fitting prefix length.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then(|| {
            let mask = |value: u128| value & (u128::MAX.checked_shl(u32::from(bits - prefix)).unwrap_or(0));
            Self { network: from_number(mask(number(address)), Family::of(address)), prefix }
        })
    }

    /// The address `n` after the network's own.
    pub fn nth(&self, n: u128) -> IpAddr {
        from_number(number(self.network).saturating_add(n), Family::of(self.network))
    }

    /// How many addresses there are; ranges are at most half the IPv6 space, so this fits.
    fn size(&self) -> u128 {
        let bits: u32 = if self.network.is_ipv4() { 32 } else { 128 };
        1u128.checked_shl(bits - u32::from(self.prefix)).unwrap_or(u128::MAX)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_number(value: u128, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(value as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(value)),
    }
}

/// Numbers in a range, some of them taken.
struct Numbers {
    first: u128,
    last: u128,
    /// Start of the part that dynamic picks come from.
    dynamic: u128,
    taken: BTreeSet<u128>,
}

impl Numbers {
    fn contains(&self, n: u128) -> bool {
        (self.first..=self.last).contains(&n)
    }

    fn pick(&mut self) -> Option<u128> {
        let upper = self.free_from(self.dynamic, self.last);
        let found = upper.or_else(|| self.free_from(self.first, self.dynamic.checked_sub(1)?))?;
        self.taken.insert(found);
        Some(found)
    }

    /// A free number in `from..=to`, searched for from a random place on.
    fn free_from(&self, from: u128, to: u128) -> Option<u128> {
        if from > to {
            return None;
        }
        let start = from + id::with_rng(|rng| rng.u128(0..=to - from));
        self.first_free(start, to).or_else(|| self.first_free(from, start.checked_sub(1)?))
    }

    fn first_free(&self, from: u128, to: u128) -> Option<u128> {
        if from > to {
            return None;
        }
        let mut next = from;
        for taken in self.taken.range(from..=to) {
            if *taken != next {
                break;
            }
            next += 1;
        }
        (next <= to).then_some(next)
    }
}

/// Why a value cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("range is full")]
    Full,
    #[error("provided IP is already allocated")]
    IpTaken,
    #[error("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {cidr}")]
    IpOutside { ip: IpAddr, cidr: Cidr },
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("provided port is not in the valid range. The range of valid ports is {first}-{last}")]
    PortOutside { first: u16, last: u16 },
}

pub struct IpPool {
    cidr: Cidr,
    numbers: Numbers,
}

impl IpPool {
    pub fn new(cidr: Cidr) -> Self {
        let family = Family::of(cidr.network);
        let network = number(cidr.network);
        let size = cidr.size();
        let first = network.saturating_add(1);
        // IPv4 keeps its broadcast address.
        let last = network.saturating_add(size - 1) - u128::from(family == Family::V4 && size > 2);
        // Upstream's calculateRangeOffset: a sixteenth, at least 16, at most 256; none in tiny ranges.
        let band = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        Self { cidr, numbers: Numbers { first, last, dynamic: first + band, taken: BTreeSet::new() } }
    }

    pub fn family(&self) -> Family {
        Family::of(self.cidr.network)
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family() && self.numbers.contains(number(ip))
    }

    pub fn take(&mut self, ip: IpAddr) {
        self.numbers.taken.insert(number(ip));
    }

    pub fn outside(&self, ip: IpAddr) -> PoolError {
        PoolError::IpOutside { ip, cidr: self.cidr }
    }

    pub fn allocate(&mut self, ip: IpAddr) -> Result<(), PoolError> {
        match () {
            () if !self.contains(ip) => Err(self.outside(ip)),
            () if !self.numbers.taken.insert(number(ip)) => Err(PoolError::IpTaken),
            () => Ok(()),
        }
    }

    pub fn allocate_next(&mut self) -> Result<IpAddr, PoolError> {
        let found = self.numbers.pick().ok_or(PoolError::Full)?;
        Ok(from_number(found, self.family()))
    }

    /// What a dry run shows instead of an address: the network's own.
    pub fn placeholder(&self) -> IpAddr {
        self.cidr.network
    }

    pub fn release(&mut self, ip: IpAddr) {
        self.numbers.taken.remove(&number(ip));
    }
}

pub struct PortPool(Numbers);

impl PortPool {
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let (first, last) = (u128::from(*range.start()), u128::from(*range.end()));
        let size = last + 1 - first;
        // Upstream's calculateRangeOffset: a thirty-second, at least 16, at most 128.
        let band = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
        Self(Numbers { first, last, dynamic: first + band, taken: BTreeSet::new() })
    }

    pub fn take(&mut self, port: u16) {
        self.0.taken.insert(u128::from(port));
    }

    pub fn is_taken(&self, port: u16) -> bool {
        self.0.taken.contains(&u128::from(port))
    }

    pub fn outside(&self) -> PoolError {
        PoolError::PortOutside { first: self.0.first as u16, last: self.0.last as u16 }
    }

    pub fn allocate(&mut self, port: u16) -> Result<(), PoolError> {
        match () {
            () if !self.0.contains(u128::from(port)) => Err(self.outside()),
            () if !self.0.taken.insert(u128::from(port)) => Err(PoolError::PortTaken),
            () => Ok(()),
        }
    }

    pub fn allocate_next(&mut self) -> Result<u16, PoolError> {
        self.0.pick().map(|port| port as u16).ok_or(PoolError::Full)
    }

    pub fn release(&mut self, port: u16) {
        self.0.taken.remove(&u128::from(port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cidr = Cidr::parse("10.96.3.4/12").unwrap();
        assert_eq!(cidr.to_string(), "10.96.0.0/12");
        assert_eq!(cidr.nth(1).to_string(), "10.96.0.1");
        assert_eq!(Cidr::parse("fd00::/112").unwrap().nth(10).to_string(), "fd00::a");
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_address_once_upper_part_first() {
        let mut pool = IpPool::new(Cidr::parse("10.0.0.0/24").unwrap());
        let mut seen = BTreeSet::new();
        for n in 0..254 {
            let ip = pool.allocate_next().unwrap();
            assert!(seen.insert(ip));
            let IpAddr::V4(v4) = ip else { panic!("{ip}") };
            // 254 usable, the first 16 kept for pinned ones.
            assert_eq!(v4.octets()[3] > 16, n < 238, "pick {n} was {ip}");
        }
        assert_eq!(pool.allocate_next(), Err(PoolError::Full));
        pool.release("10.0.0.7".parse().unwrap());
        assert_eq!(pool.allocate_next().unwrap().to_string(), "10.0.0.7");
    }

    #[test]
    fn pinned_values() {
        let mut pool = IpPool::new(Cidr::parse("10.96.0.0/12").unwrap());
        let ip = "10.96.0.10".parse().unwrap();
        assert_eq!(pool.allocate(ip), Ok(()));
        assert_eq!(pool.allocate(ip).unwrap_err().to_string(), "provided IP is already allocated");
        let outside = pool.allocate("10.1.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(
            outside.to_string(),
            "the provided IP (10.1.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12"
        );
        let mut ports = PortPool::new(30000..=32767);
        assert_eq!(ports.allocate(30000), Ok(()));
        assert_eq!(ports.allocate(30000).unwrap_err().to_string(), "provided port is already allocated");
        assert_eq!(
            ports.allocate(80).unwrap_err().to_string(),
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        );
        assert!(ports.allocate_next().unwrap() >= 30000 + 86);
    }
}
