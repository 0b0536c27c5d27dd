//! One question, answered from the zone.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::zone::{Data, Found, Zone};

/// Seconds an answer may be kept. Short, because endpoints move.
pub const TTL_SECONDS: u32 = 5;

/// What to do with a query.
pub enum Reply {
    /// Send this.
    Answer(Box<Message>),
    /// Not ours: ask the node's resolvers.
    Forward,
    /// An alias out of the cluster: send this after adding the target's addresses, asked elsewhere.
    Follow { answer: Box<Message>, target: Name },
}

/// Answers `query` if its name is the cluster's.
pub fn answer(zone: &Zone, query: &Message) -> Reply {
    let mut reply = response_to(query);
    if query.metadata.op_code != OpCode::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
        return Reply::Answer(Box::new(reply));
    }
    let [question] = query.queries.as_slice() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return Reply::Answer(Box::new(reply));
    };
    if question.query_class() != DNSClass::IN {
        return Reply::Forward;
    }
    let name = question.name();
    let text = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    if let Some(address) = reverse_address(name).filter(|_| question.query_type() == RecordType::PTR) {
        let Some(owners) = zone.reverse(address) else { return Reply::Forward };
        for owner in owners {
            push(&mut reply, name, RData::PTR(PTR(absolute(zone, owner))));
        }
        return Reply::Answer(Box::new(reply));
    }
    let Some(relative) = relative_to(&text, &zone.domain) else { return Reply::Forward };
    let target = fill(zone, &mut reply, name, relative, question.query_type());
    match target {
        Some(target) => Reply::Follow { answer: Box::new(reply), target },
        None => {
            if reply.answers.is_empty() {
                reply.authorities.push(authority(zone));
            }
            Reply::Answer(Box::new(reply))
        }
    }
}

/// Makes a reply with the query's identity, question and EDNS.
pub fn response_to(query: &Message) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    reply.queries.clone_from(&query.queries);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_PAYLOAD);
        reply.edns = Some(edns);
    }
    reply
}

/// DNS flag day 2020's size: never fragmented.
pub const MAX_UDP_PAYLOAD: u16 = 1232;

/// Adds the records; returns the foreign name an alias leads to, when its addresses are wanted.
fn fill(zone: &Zone, reply: &mut Message, name: &Name, relative: &str, wanted: RecordType) -> Option<Name> {
    match zone.find(relative) {
        Found::Nothing => reply.metadata.response_code = ResponseCode::NXDomain,
        Found::Empty if relative.is_empty() && wanted == RecordType::SOA => reply.answers.push(authority(zone)),
        Found::Empty => {}
        Found::Computed(address) => push_address(reply, name, address, wanted),
        Found::Records(records) => {
            for record in records {
                match record {
                    Data::Address(address) => push_address(reply, name, *address, wanted),
                    Data::Service { port, target } if is(wanted, RecordType::SRV) => {
                        let weight = u16::try_from(100 / records.len().max(1)).unwrap_or(1).max(1);
                        let owner = absolute(zone, target);
                        push(reply, name, RData::SRV(SRV::new(0, weight, *port, owner.clone())));
                        add_glue(zone, reply, &owner, target);
                    }
                    Data::Text(text) if is(wanted, RecordType::TXT) => {
                        push(reply, name, RData::TXT(TXT::new(vec![text.clone()])));
                    }
                    Data::Alias(target) => return follow(zone, reply, name, target, wanted),
                    _ => {}
                }
            }
        }
    }
    None
}

fn follow(zone: &Zone, reply: &mut Message, name: &Name, target: &str, wanted: RecordType) -> Option<Name> {
    let alias = Name::from_ascii(format!("{}.", target.trim_end_matches('.'))).ok()?;
    push(reply, name, RData::CNAME(CNAME(alias.clone())));
    if wanted == RecordType::CNAME {
        return None;
    }
    let Some(inside) = relative_to(target.trim_end_matches('.'), &zone.domain) else { return Some(alias) };
    // An alias to another name of the cluster is followed here, once: aliases may form a loop.
    if let Found::Records(records) = zone.find(inside) {
        for record in records {
            if let Data::Address(address) = record {
                push_address(reply, &alias, *address, wanted);
            }
        }
    }
    None
}

fn add_glue(zone: &Zone, reply: &mut Message, owner: &Name, target: &str) {
    let Found::Records(records) = zone.find(target) else { return };
    for record in records {
        if let Data::Address(address) = record {
            let glue = Record::from_rdata(owner.clone(), TTL_SECONDS, address_data(*address));
            if !reply.additionals.contains(&glue) {
                reply.additionals.push(glue);
            }
        }
    }
}

fn is(wanted: RecordType, this: RecordType) -> bool {
    wanted == this || wanted == RecordType::ANY
}

fn push_address(reply: &mut Message, name: &Name, address: IpAddr, wanted: RecordType) {
    let this = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    if is(wanted, this) {
        push(reply, name, address_data(address));
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

fn push(reply: &mut Message, name: &Name, data: RData) {
    reply.answers.push(Record::from_rdata(name.clone(), TTL_SECONDS, data));
}

/// The zone's SOA: how long "no such name" may be kept.
fn authority(zone: &Zone) -> Record {
    let apex = absolute(zone, "");
    let soa = SOA::new(absolute(zone, "ns.dns"), absolute(zone, "hostmaster"), 1, 7200, 1800, 86400, TTL_SECONDS);
    Record::from_rdata(apex, TTL_SECONDS, RData::SOA(soa))
}

fn absolute(zone: &Zone, relative: &str) -> Name {
    let dot = if relative.is_empty() { "" } else { "." };
    Name::from_ascii(format!("{relative}{dot}{}.", zone.domain)).unwrap_or_else(|_| Name::root())
}

/// `a.cluster.local` -> `a`; `cluster.local` -> ``; others are not ours.
fn relative_to<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    if name == domain {
        return Some("");
    }
    name.strip_suffix(domain)?.strip_suffix('.')
}

fn reverse_address(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    let whole = network.prefix_len() == network.max_prefix_len();
    whole.then(|| network.addr())
}
