//! Address ranges as ServiceCIDRs name them (`10.96.0.0/12`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
        (prefix <= bits(address)).then(|| {
            let whole = Self { network: address, prefix };
            Self { network: address_of(number_of(address) & !whole.host_mask(), address.is_ipv6()), prefix }
        })
    }

    /// The address `n` after the network's own.
    pub fn nth(&self, n: u128) -> IpAddr {
        address_of(number_of(self.network).saturating_add(n), self.network.is_ipv6())
    }

    /// How many addresses there are, the network's own included.
    pub fn size(&self) -> u128 {
        self.host_mask().saturating_add(1)
    }

    /// First and last address that a Service may have, as numbers; none when the first is past the last. The
    /// network's own is for nobody, nor is IPv4's broadcast address.
    pub fn hosts(&self) -> (u128, u128) {
        let network = number_of(self.network);
        let last = network | self.host_mask();
        (network.saturating_add(1), last.saturating_sub(u128::from(self.network.is_ipv4())))
    }

    /// Whether a Service may have this address by this range.
    pub fn has_host(&self, ip: IpAddr) -> bool {
        let (first, last) = self.hosts();
        self.network.is_ipv4() == ip.is_ipv4() && (first..=last).contains(&number_of(ip))
    }

    /// Whether every address of `other` is of this range.
    pub fn covers(&self, other: &Self) -> bool {
        let same_family = self.network.is_ipv4() == other.network.is_ipv4();
        let start = number_of(other.network) & !self.host_mask();
        same_family && self.prefix <= other.prefix && start == number_of(self.network)
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    fn host_mask(&self) -> u128 {
        let host_bits = u32::from(bits(self.network).saturating_sub(self.prefix));
        1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

pub fn number_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

pub fn address_of(number: u128, ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::from_bits(number).into() } else { Ipv4Addr::from_bits(number as u32).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn texts() {
        assert_eq!(cidr("10.96.3.4/12").to_string(), "10.96.0.0/12");
        assert_eq!(cidr("10.96.3.4/12").nth(1).to_string(), "10.96.0.1");
        assert_eq!(cidr("fd00::/112").nth(10).to_string(), "fd00::a");
        assert_eq!(cidr("::/0").size(), u128::MAX);
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn neither_the_network_nor_the_broadcast_address_is_a_hosts() {
        for (range, inside, outside) in [
            ("10.0.0.0/24", vec!["10.0.0.1", "10.0.0.254"], vec!["10.0.0.0", "10.0.0.255", "10.0.1.1", "::a00:1"]),
            ("fd00::/120", vec!["fd00::1", "fd00::ff"], vec!["fd00::", "fd00::100"]),
            ("10.0.0.0/31", vec![], vec!["10.0.0.0", "10.0.0.1"]),
            ("0.0.0.0/32", vec![], vec!["0.0.0.0", "0.0.0.1"]),
            ("255.255.255.255/32", vec![], vec!["255.255.255.255"]),
            ("fd00::1/128", vec![], vec!["fd00::1"]),
            ("fd00::/127", vec!["fd00::1"], vec!["fd00::"]),
        ] {
            inside.iter().for_each(|ip| assert!(cidr(range).has_host(ip.parse().unwrap()), "{range} {ip}"));
            outside.iter().for_each(|ip| assert!(!cidr(range).has_host(ip.parse().unwrap()), "{range} {ip}"));
        }
    }

    #[test]
    fn ranges_in_ranges() {
        assert!(cidr("10.0.0.0/8").covers(&cidr("10.1.0.0/16")) && cidr("10.0.0.0/8").covers(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.1.0.0/16").covers(&cidr("10.0.0.0/8")) && cidr("10.1.0.0/16").overlaps(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/24").overlaps(&cidr("10.0.1.0/24")));
        assert!(!cidr("::/0").overlaps(&cidr("0.0.0.0/0")));
    }
}
