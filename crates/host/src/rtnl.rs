//! Links, addresses and routes (rtnetlink, `linux/rtnetlink.h`, `linux/if_link.h`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use orlop_api::cidr::Cidr;
use orlop_network::dataplane::{InterfaceAddress, Route};
use orlop_network::ruleset::octets;

use crate::netlink::{Open, Socket, Writer, attributes, flags};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
/// No duplicate address detection: pods' IPv6 addresses are usable at once.
const IFA_F_NODAD: u32 = 0x02;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;

const IFF_UP: u32 = 1;

/// An rtnetlink socket in one network namespace.
pub struct Rtnl(Socket);

impl Rtnl {
    /// In the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Socket::open(libc::NETLINK_ROUTE)?))
    }

    /// Names of all links.
    pub fn links(&self) -> io::Result<Vec<String>> {
        let mut w = Writer::default();
        w.begin(RTM_GETLINK, flags::DUMP, &link_header(0, 0, 0));
        w.finish();
        let mut names = Vec::new();
        for reply in self.0.exchange(&w)?.iter().filter(|r| r.kind == RTM_NEWLINK && r.payload.len() >= 16) {
            let name = attributes(&reply.payload[16..]).into_iter().find(|(kind, _)| *kind == IFLA_IFNAME);
            names.extend(name.map(|(_, value)| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()));
        }
        Ok(names)
    }

    /// Index of a link; `NotFound` when there is none.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        let link = self.link(name)?;
        Ok(u32::from_ne_bytes(link[4..8].try_into().expect("four bytes")))
    }

    /// The alias of a link, which the kernel only keeps.
    pub fn alias(&self, name: &str) -> io::Result<Option<String>> {
        let link = match self.link(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            link => link?,
        };
        let alias = attributes(&link[16..]).into_iter().find(|(kind, _)| *kind == IFLA_IFALIAS);
        Ok(alias.map(|(_, value)| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()))
    }

    pub fn set_alias(&self, index: u32, alias: &str) -> io::Result<()> {
        let mut w = Writer::default();
        w.begin(RTM_SETLINK, flags::ACK, &link_header(index, 0, 0));
        w.attr(IFLA_IFALIAS, alias.as_bytes());
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    /// What the kernel says of a link: a header of 16 bytes and attributes.
    fn link(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut w = Writer::default();
        w.begin(RTM_GETLINK, 0, &link_header(0, 0, 0));
        w.text(IFLA_IFNAME, name);
        w.finish();
        match self.0.exchange(&w) {
            Ok(replies) => replies
                .into_iter()
                .find(|r| r.kind == RTM_NEWLINK && r.payload.len() >= 16)
                .map(|r| r.payload)
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(error),
        }
    }

    pub fn create_bridge(&self, name: &str, mtu: u32) -> io::Result<()> {
        let mut w = Writer::default();
        w.begin(RTM_NEWLINK, flags::CREATE | flags::EXCL | flags::ACK, &link_header(0, 0, 0));
        w.text(IFLA_IFNAME, name);
        w.u32(IFLA_MTU, mtu);
        let info = w.nest(IFLA_LINKINFO);
        w.text(IFLA_INFO_KIND, "bridge");
        w.end(info);
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    /// A veth pair whose `peer` end is born in the namespace behind `peer_netns`, down.
    pub fn create_veth(
        &self,
        name: &str,
        peer: &str,
        peer_mac: [u8; 6],
        peer_netns: i32,
        mtu: u32,
        master: u32,
    ) -> io::Result<()> {
        let mut w = Writer::default();
        w.begin(RTM_NEWLINK, flags::CREATE | flags::EXCL | flags::ACK, &link_header(0, IFF_UP, IFF_UP));
        w.text(IFLA_IFNAME, name);
        w.u32(IFLA_MTU, mtu);
        w.u32(IFLA_MASTER, master);
        let info = w.nest(IFLA_LINKINFO);
        w.text(IFLA_INFO_KIND, "veth");
        let data = w.nest(IFLA_INFO_DATA);
        let end: Open = w.nest(VETH_INFO_PEER);
        w.raw(&link_header(0, 0, 0));
        w.text(IFLA_IFNAME, peer);
        w.u32(IFLA_MTU, mtu);
        w.attr(IFLA_ADDRESS, &peer_mac);
        w.attr(IFLA_NET_NS_FD, &peer_netns.to_ne_bytes());
        w.end(end);
        w.end(data);
        w.end(info);
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    pub fn set_up(&self, index: u32) -> io::Result<()> {
        let mut w = Writer::default();
        w.begin(RTM_NEWLINK, flags::ACK, &link_header(index, IFF_UP, IFF_UP));
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    /// A bridge port that may send a frame back where it came from: a pod reaching itself.
    pub fn set_hairpin(&self, index: u32) -> io::Result<()> {
        let mut header = link_header(index, 0, 0);
        header[0] = u8::try_from(libc::AF_BRIDGE).expect("address families are small");
        let mut w = Writer::default();
        w.begin(RTM_SETLINK, flags::ACK, &header);
        let port = w.nest(IFLA_PROTINFO);
        w.attr(IFLA_BRPORT_MODE, &[1]);
        w.end(port);
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    pub fn delete(&self, name: &str) -> io::Result<()> {
        let mut w = Writer::default();
        w.begin(RTM_DELLINK, flags::ACK, &link_header(0, 0, 0));
        w.text(IFLA_IFNAME, name);
        w.finish();
        match self.0.exchange(&w) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Idempotent.
    pub fn add_address(&self, index: u32, own: InterfaceAddress) -> io::Result<()> {
        self.address(RTM_NEWADDR, flags::CREATE | flags::REPLACE | flags::ACK, index, own)
    }

    pub fn delete_address(&self, index: u32, own: InterfaceAddress) -> io::Result<()> {
        self.address(RTM_DELADDR, flags::ACK, index, own)
    }

    fn address(&self, kind: u16, flags: u16, index: u32, own: InterfaceAddress) -> io::Result<()> {
        let mut header = vec![family(own.address), own.prefix, 0, 0];
        header.extend_from_slice(&index.to_ne_bytes());
        let bytes = octets(own.address);
        let mut w = Writer::default();
        w.begin(kind, flags, &header);
        w.attr(IFA_LOCAL, &bytes);
        w.attr(IFA_ADDRESS, &bytes);
        if own.address.is_ipv6() {
            w.u32(IFA_FLAGS, IFA_F_NODAD);
        }
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    /// Every address with the index of its link.
    pub fn addresses(&self) -> io::Result<Vec<(u32, InterfaceAddress)>> {
        let mut w = Writer::default();
        w.begin(RTM_GETADDR, flags::DUMP, &[0; 8]);
        w.finish();
        let mut found = Vec::new();
        for reply in self.0.exchange(&w)?.iter().filter(|r| r.kind == RTM_NEWADDR && r.payload.len() >= 8) {
            let index = u32::from_ne_bytes(reply.payload[4..8].try_into().expect("four bytes"));
            let attrs = attributes(&reply.payload[8..]);
            let value = |wanted: u16| attrs.iter().find(|(kind, _)| *kind == wanted).and_then(|(_, v)| address_of(v));
            if let Some(address) = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS)) {
                found.push((index, InterfaceAddress { address, prefix: reply.payload[1] }));
            }
        }
        Ok(found)
    }

    /// Replaces what stood for this destination.
    pub fn set_route(&self, index: u32, route: &Route) -> io::Result<()> {
        self.route(RTM_NEWROUTE, flags::CREATE | flags::REPLACE | flags::ACK, index, route)
    }

    pub fn delete_route(&self, index: u32, route: &Route) -> io::Result<()> {
        match self.route(RTM_DELROUTE, flags::ACK, index, route) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Destinations that [`set_route`](Self::set_route) sends to this link.
    pub fn static_routes(&self, index: u32) -> io::Result<Vec<Cidr>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            for reply in self.routes(family)? {
                let [_, prefix, _, _, table, protocol, ..] = reply[..] else { continue };
                let attrs = attributes(&reply[12..]);
                let value = |wanted: u16| attrs.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
                let is_ours = (table, protocol) == (RT_TABLE_MAIN, RTPROT_STATIC);
                if let Some(address) = value(RTA_DST).and_then(address_of)
                    && is_ours
                    && value(RTA_OIF) == Some(&index.to_ne_bytes()[..])
                {
                    found.push(Cidr::of(address, prefix));
                }
            }
        }
        Ok(found)
    }

    fn route(&self, kind: u16, flags: u16, index: u32, route: &Route) -> io::Result<()> {
        const RTN_UNICAST: u8 = 1;
        const RT_SCOPE_UNIVERSE: u8 = 0;
        const RT_SCOPE_LINK: u8 = 253;
        let scope = if route.via.is_some() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
        let destination = route.destination;
        let header = [
            family(destination.network()),
            destination.prefix(),
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_STATIC,
            scope,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let mut w = Writer::default();
        w.begin(kind, flags, &header);
        if destination.prefix() > 0 {
            w.attr(RTA_DST, &octets(destination.network()));
        }
        w.u32(RTA_OIF, index);
        if let Some(via) = route.via {
            w.attr(RTA_GATEWAY, &octets(via));
        }
        if let Some(source) = route.source {
            w.attr(RTA_PREFSRC, &octets(source));
        }
        w.finish();
        self.0.exchange(&w).map(drop)
    }

    /// Every route of the family: `struct rtmsg` and its attributes.
    fn routes(&self, family: i32) -> io::Result<Vec<Vec<u8>>> {
        let mut header = [0u8; 12];
        header[0] = u8::try_from(family).expect("address families are small");
        let mut w = Writer::default();
        w.begin(RTM_GETROUTE, flags::DUMP, &header);
        w.finish();
        let replies = self.0.exchange(&w)?.into_iter();
        Ok(replies.filter(|r| r.kind == RTM_NEWROUTE && r.payload.len() >= 12).map(|r| r.payload).collect())
    }

    /// Index of the link with the best IPv4 (else IPv6) default route.
    pub fn default_route_link(&self) -> io::Result<Option<u32>> {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut best: Option<(u32, u32)> = None;
            for reply in self.routes(family)? {
                if reply[1] != 0 || reply[7] != 1 {
                    continue;
                }
                let attrs = attributes(&reply[12..]);
                let number = |wanted: u16| {
                    let value = attrs.iter().find(|(kind, _)| *kind == wanted)?.1;
                    Some(u32::from_ne_bytes(value.try_into().ok()?))
                };
                if let Some(index) = number(RTA_OIF) {
                    let metric = number(RTA_PRIORITY).unwrap_or(0);
                    if best.is_none_or(|(least, _)| metric < least) {
                        best = Some((metric, index));
                    }
                }
            }
            if let Some((_, index)) = best {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0u8; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).expect("address families are small")
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}
