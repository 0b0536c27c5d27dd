//! Address ranges, of pods and of Services (`10.96.0.0/12`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The range of this prefix length that the address is in.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let own = Self { network: address, prefix: prefix.min(bits(address)) };
        Self { network: address_of(number_of(address) & !own.host_mask(), address.is_ipv6()), ..own }
    }

    /// The first address.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The address `n` places behind the network's own.
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

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.covers(&Self { network: ip, prefix: bits(ip) })
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

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not an address with a prefix length, like 10.244.0.0/16");
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > bits(address) {
            return Err(bad());
        }
        Ok(Self::of(address, prefix))
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
        text.parse().unwrap()
    }

    #[test]
    fn texts() {
        assert_eq!(cidr("10.96.3.4/12").to_string(), "10.96.0.0/12");
        assert_eq!(cidr("10.96.3.4/12").nth(1).to_string(), "10.96.0.1");
        assert_eq!(cidr("fd00::/112").nth(10).to_string(), "fd00::a");
        assert_eq!(cidr("::/0").size(), u128::MAX);
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8"] {
            assert!(bad.parse::<Cidr>().unwrap_err().contains(bad));
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
    fn addresses_in_ranges() {
        for (range, inside, outside) in [
            ("10.244.0.0/16", "10.244.255.255", "10.245.0.1"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("fd00:10::/64", "fd00:10::", "fd00:10:0:1::5"),
        ] {
            assert!(cidr(range).contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!cidr(range).contains(outside.parse().unwrap()), "{range} {outside}");
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
