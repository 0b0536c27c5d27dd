//! Forgetting tracked flows (`linux/netfilter/nfnetlink_conntrack.h`).
//!
//! A UDP "connection" outlives its endpoint for as long as packets come; Services change at once,
//! so the kernel must forget the flow (KEP-less, but what kube-proxy does with conntrack).

use std::io;
use std::net::IpAddr;

use crate::netlink::{Socket, Writer, attributes, flags};

const SUBSYS_CTNETLINK: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;

/// Deletes UDP flows that were sent to `destination:port` and, when given, answered by `endpoint`.
pub fn forget_udp(socket: &Socket, destination: IpAddr, port: u16, endpoint: Option<IpAddr>) -> io::Result<()> {
    let family = if destination.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let mut query = Writer::default();
    query.begin(SUBSYS_CTNETLINK << 8 | GET, flags::DUMP, &[family, 0, 0, 0]);
    query.finish();
    for flow in socket.exchange(&query)? {
        let Some(attrs) = flow.payload.get(4..) else { continue };
        let attrs = attributes(attrs);
        let raw = |wanted: u16| attrs.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        let (Some(original), Some(reply)) = (raw(TUPLE_ORIGINAL), raw(TUPLE_REPLY)) else { continue };
        let (sent, answered) = (Tuple::parse(original), Tuple::parse(reply));
        let wanted = sent.protocol == Some(libc::IPPROTO_UDP as u8)
            && sent.destination == Some(destination)
            && sent.destination_port == Some(port)
            && endpoint.is_none_or(|e| answered.source == Some(e));
        if wanted {
            let mut delete = Writer::default();
            delete.begin(SUBSYS_CTNETLINK << 8 | DELETE, flags::ACK, &[family, 0, 0, 0]);
            delete.attr(TUPLE_ORIGINAL | NLA_F_NESTED, original);
            delete.finish();
            match socket.exchange(&delete) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                result => drop(result?),
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<u8>,
    destination_port: Option<u16>,
}

impl Tuple {
    fn parse(bytes: &[u8]) -> Self {
        const IP: u16 = 1;
        const PROTO: u16 = 2;
        let mut tuple = Self::default();
        for (kind, value) in attributes(bytes) {
            for (inner, value) in attributes(value) {
                match (kind, inner) {
                    (IP, 1 | 3) => tuple.source = address(value),
                    (IP, 2 | 4) => tuple.destination = address(value),
                    (PROTO, 1) => tuple.protocol = value.first().copied(),
                    (PROTO, 3) => tuple.destination_port = value.try_into().ok().map(u16::from_be_bytes),
                    _ => {}
                }
            }
        }
        tuple
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok().or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}
