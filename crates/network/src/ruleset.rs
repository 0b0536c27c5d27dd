//! The shape of the service ruleset: tables, hooks and the chains that every Service shares.
//!
//! A packet costs a fixed number of hash lookups however many Services exist, and a changed Service
//! costs as many element changes as it has endpoints (layout "global maps keyed by a random number").
//!
//! ```text
//! services   addr . proto . port            -> goto n<N>, x<N>, a chain of the Service's own
//! nodeports         proto . port            -> goto p<N>, or a chain of the Service's own
//! ep<N>      addr . proto . port . random%N -> endpoint addr . port
//! np<N>             proto . port . random%N -> endpoint addr . port
//! refused    addr . proto . port            -> goto refuse, or drop    (no endpoint stands behind)
//! ```

use std::net::{IpAddr, Ipv4Addr};

use orlop_api::cidr::Cidr;

use crate::nft::{
    BaseChain, CmpOp, CtKey, DataType, Expr, Family, Hook, MapValue, MetaKey, Op, PayloadBase, Reg, Set, Verdict,
};

/// Connections that must leave with the node's address carry this bit of the conntrack mark.
pub const MASQUERADE_MARK: u32 = 0x4000;

pub const SERVICES: &str = "services";
pub const NODE_PORTS: &str = "nodeports";
pub const REFUSED: &str = "refused";
pub const REFUSED_NODE_PORTS: &str = "refused-nodeports";
pub const CLUSTER_IPS: &str = "cluster-ips";
pub const HAIRPIN: &str = "hairpin";
pub const HOST_PORTS: &str = "hostports";
pub const HOST_PORTS_AT: &str = "hostports-at";
pub const REFUSE: &str = "refuse";

const NEW_CONNECTION: u32 = 0x8;
const DESTINATION_NAT_DONE: u32 = 0x20;
const RTN_LOCAL: u32 = 2;

/// Sizes and offsets that differ between IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub family: Family,
}

impl Layout {
    pub fn address_type(self) -> DataType {
        if self.family == Family::Ipv6 { DataType::Ipv6Address } else { DataType::Ipv4Address }
    }

    /// Registers an address takes.
    pub fn words(self) -> Reg {
        if self.family == Family::Ipv6 { 4 } else { 1 }
    }

    pub fn holds(self, address: IpAddr) -> bool {
        address.is_ipv6() == (self.family == Family::Ipv6)
    }

    fn address_len(self) -> u32 {
        u32::from(self.words()) * 4
    }

    pub fn load_source(self, to: Reg) -> Expr {
        let offset = if self.family == Family::Ipv6 { 8 } else { 12 };
        Expr::Payload { base: PayloadBase::Network, offset, len: self.address_len(), to }
    }

    pub fn load_destination(self, to: Reg) -> Expr {
        let offset = if self.family == Family::Ipv6 { 24 } else { 16 };
        Expr::Payload { base: PayloadBase::Network, offset, len: self.address_len(), to }
    }

    /// `proto . port` from register `to` on.
    pub fn load_port_key(self, to: Reg) -> [Expr; 2] {
        [
            Expr::Meta { key: MetaKey::L4Protocol, to },
            Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, to: to + 1 },
        ]
    }

    /// `addr . proto . port` from register 0 on.
    pub fn load_service_key(self) -> Vec<Expr> {
        let [protocol, port] = self.load_port_key(self.words());
        vec![self.load_destination(0), protocol, port]
    }

    /// Sends the connection to `addr . port` in registers `at`...
    pub fn dnat(self, at: Reg) -> Expr {
        Expr::Dnat { family: self.family, address: at, port: Some(at + self.words()) }
    }

    pub fn service_key(self) -> Vec<DataType> {
        vec![self.address_type(), DataType::Protocol, DataType::Port]
    }

    pub fn endpoint(self) -> Vec<DataType> {
        vec![self.address_type(), DataType::Port]
    }

    /// Stops the rule unless the source (or destination) address is (not) in `cidr`.
    fn match_cidr(load: Expr, op: CmpOp, cidr: Cidr) -> Vec<Expr> {
        let value = octets(cidr.network());
        let mask = prefix_mask(cidr.prefix(), value.len());
        let zero = vec![0; mask.len()];
        vec![load, Expr::Bitwise { from: 0, to: 0, mask, xor: zero }, Expr::Cmp { op, reg: 0, value }]
    }
}

/// What the fixed part of the ruleset depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNetwork {
    pub bridge: String,
    /// All pods of the cluster, this family.
    pub cluster_cidr: Cidr,
    /// Pods of this node.
    pub node_cidr: Cidr,
}

/// Everything that stands before the first Service: replaces the table as a whole.
pub fn base(layout: Layout, node: &NodeNetwork) -> Vec<Op> {
    let mut ops = vec![Op::AddTable, Op::DeleteTable, Op::AddTable];
    ops.extend(shared_sets(layout));
    for name in [REFUSE, "mark"] {
        ops.push(Op::AddChain { name: name.into(), base: None });
    }
    for (name, kind, hook, priority) in [
        ("prerouting", "nat", Hook::Prerouting, -100),
        ("output", "nat", Hook::Output, -100),
        ("postrouting", "nat", Hook::Postrouting, 100),
        ("check-input", "filter", Hook::Input, -110),
        ("check-forward", "filter", Hook::Forward, -110),
        ("check-output", "filter", Hook::Output, -110),
        // Behind NAT of the node's own connections: what still wants a cluster IP wants a port that is not served.
        ("check-cluster-ips", "filter", Hook::Output, -90),
    ] {
        ops.push(Op::AddChain { name: name.into(), base: Some(BaseChain { kind, hook, priority }) });
    }
    ops.push(rule(REFUSE, with(l4_is(6), [Expr::RejectTcpReset])));
    ops.push(rule(REFUSE, vec![Expr::RejectPortUnreachable]));
    ops.push(rule("mark", mark()));
    nat_rules(&mut ops, layout, node);
    check_rules(&mut ops, layout);
    ops
}

fn shared_sets(layout: Layout) -> Vec<Op> {
    let port_key = || vec![DataType::Protocol, DataType::Port];
    let set =
        |name: &str, key, value| Op::AddSet(Set { name: name.into(), key, value, timeout_seconds: None, size: None });
    let address = layout.address_type();
    vec![
        set(SERVICES, layout.service_key(), Some(MapValue::Verdict)),
        set(NODE_PORTS, port_key(), Some(MapValue::Verdict)),
        set(REFUSED, layout.service_key(), Some(MapValue::Verdict)),
        set(REFUSED_NODE_PORTS, port_key(), Some(MapValue::Verdict)),
        set(CLUSTER_IPS, vec![address], None),
        set(HAIRPIN, vec![address, address], None),
        set(HOST_PORTS, port_key(), Some(MapValue::Data(layout.endpoint()))),
        set(HOST_PORTS_AT, layout.service_key(), Some(MapValue::Data(layout.endpoint()))),
    ]
}

fn nat_rules(ops: &mut Vec<Op>, layout: Layout, node: &NodeNetwork) {
    let words = layout.words();
    for chain in ["prerouting", "output"] {
        // A cluster IP that someone outside the pod network asks for: the answer must come back through here.
        let from_outside = Layout::match_cidr(layout.load_source(0), CmpOp::Ne, node.cluster_cidr);
        // Whatever range it is of: ServiceCIDRs come and go (KEP-1880).
        let to_service =
            [layout.load_destination(0), Expr::Lookup { set: CLUSTER_IPS.into(), key: 0, inverted: false }];
        ops.push(rule(chain, with(with(from_outside, to_service), [Expr::Verdict(Verdict::Jump("mark".into()))])));
        ops.push(rule(chain, with(layout.load_service_key(), [Expr::LookupVerdict { map: SERVICES.into(), key: 0 }])));
        let at_address = [Expr::LookupMap { map: HOST_PORTS_AT.into(), key: 0, to: 0 }, layout.dnat(0)];
        ops.push(rule(chain, with(layout.load_service_key(), at_address)));
        let node_port =
            with(layout.load_port_key(0).to_vec(), [Expr::LookupVerdict { map: NODE_PORTS.into(), key: 0 }]);
        ops.push(rule(chain, with(destination_is_local(), node_port)));
        let host_port = [Expr::LookupMap { map: HOST_PORTS.into(), key: 0, to: 0 }, layout.dnat(0)];
        ops.push(rule(chain, with(with(destination_is_local(), layout.load_port_key(0)), host_port)));
    }
    let masquerade = [Expr::Masquerade { random_fully: true }];
    let marked = masked(CtKey::Mark, MASQUERADE_MARK);
    ops.push(rule("postrouting", with(marked, masquerade.clone())));
    let itself = [
        layout.load_source(0),
        layout.load_destination(words),
        Expr::Lookup { set: HAIRPIN.into(), key: 0, inverted: false },
    ];
    ops.push(rule("postrouting", with(with(masked(CtKey::Status, DESTINATION_NAT_DONE), itself), masquerade.clone())));
    if layout.family == Family::Ipv4 {
        let loopback = Cidr::of(Ipv4Addr::LOCALHOST.into(), 8);
        let from_loopback = Layout::match_cidr(layout.load_source(0), CmpOp::Eq, loopback);
        ops.push(rule(
            "postrouting",
            with(with(from_loopback, output_is(CmpOp::Eq, &node.bridge)), masquerade.clone()),
        ));
    }
    let from_pod = Layout::match_cidr(layout.load_source(0), CmpOp::Eq, node.node_cidr);
    let to_world = Layout::match_cidr(layout.load_destination(0), CmpOp::Ne, node.cluster_cidr);
    let leaving = with(with(from_pod, to_world), output_is(CmpOp::Ne, &node.bridge));
    ops.push(rule("postrouting", with(leaving, masquerade)));
}

fn check_rules(ops: &mut Vec<Op>, layout: Layout) {
    let new = || masked(CtKey::State, NEW_CONNECTION);
    let refused = || with(layout.load_service_key(), [Expr::LookupVerdict { map: REFUSED.into(), key: 0 }]);
    for chain in ["check-input", "check-forward", "check-output"] {
        ops.push(rule(chain, with(new(), refused())));
    }
    for chain in ["check-input", "check-output"] {
        let lookup = Expr::LookupVerdict { map: REFUSED_NODE_PORTS.into(), key: 0 };
        let node_port = with(with(destination_is_local(), layout.load_port_key(0)), [lookup]);
        ops.push(rule(chain, with(new(), node_port)));
    }
    for chain in ["check-forward", "check-cluster-ips"] {
        let unserved = [
            layout.load_destination(0),
            Expr::Lookup { set: CLUSTER_IPS.into(), key: 0, inverted: false },
            Expr::Verdict(Verdict::Goto(REFUSE.into())),
        ];
        ops.push(rule(chain, with(new(), unserved)));
    }
}

/// Chains and maps that all Services with `n` endpoints share.
pub fn shared_chains(layout: Layout, n: u32) -> Vec<Op> {
    let mut ops = Vec::new();
    let random = DataType::Mark;
    let key = |mut fields: Vec<DataType>| {
        fields.push(random);
        fields
    };
    let by_service = Set {
        name: format!("ep{n}"),
        key: key(layout.service_key()),
        value: Some(MapValue::Data(layout.endpoint())),
        timeout_seconds: None,
        size: None,
    };
    let by_port =
        Set { name: format!("np{n}"), key: key(vec![DataType::Protocol, DataType::Port]), ..by_service.clone() };
    let pick = |mut load: Vec<Expr>, map: &str, index: Reg| {
        load.extend([
            Expr::Random { to: index, modulus: n },
            Expr::LookupMap { map: map.into(), key: 0, to: 0 },
            layout.dnat(0),
        ]);
        load
    };
    let words = layout.words();
    let chains = [
        (format!("n{n}"), vec![pick(layout.load_service_key(), &by_service.name, words + 2)]),
        (format!("x{n}"), vec![mark(), vec![Expr::Verdict(Verdict::Goto(format!("n{n}")))]]),
        (format!("q{n}"), vec![pick(layout.load_port_key(0).to_vec(), &by_port.name, 2)]),
        (format!("p{n}"), vec![mark(), vec![Expr::Verdict(Verdict::Goto(format!("q{n}")))]]),
    ];
    ops.extend([Op::AddSet(by_service), Op::AddSet(by_port)]);
    ops.extend(chains.iter().map(|(name, _)| Op::AddChain { name: name.clone(), base: None }));
    for (name, rules) in chains {
        ops.extend(rules.into_iter().map(|exprs| rule(&name, exprs)));
    }
    ops
}

/// Undoes [`shared_chains`], once nothing refers to them.
pub fn remove_shared_chains(n: u32) -> Vec<Op> {
    let mut ops: Vec<Op> = ["x", "p", "n", "q"].iter().map(|c| Op::FlushChain { name: format!("{c}{n}") }).collect();
    ops.extend(["x", "p", "n", "q"].iter().map(|c| Op::DeleteChain { name: format!("{c}{n}") }));
    ops.extend(["ep", "np"].iter().map(|s| Op::DeleteSet { name: format!("{s}{n}") }));
    ops
}

/// Sets the masquerade bit and goes on.
pub fn mark() -> Vec<Expr> {
    vec![
        Expr::Ct { key: CtKey::Mark, to: 0 },
        Expr::Bitwise {
            from: 0,
            to: 0,
            mask: (!MASQUERADE_MARK).to_ne_bytes().to_vec(),
            xor: MASQUERADE_MARK.to_ne_bytes().to_vec(),
        },
        Expr::CtMarkSet { from: 0 },
    ]
}

/// Stops the rule unless the packet comes from a pod of the cluster.
pub fn source_is_pod(layout: Layout, cluster_cidr: Cidr) -> Vec<Expr> {
    Layout::match_cidr(layout.load_source(0), CmpOp::Eq, cluster_cidr)
}

fn destination_is_local() -> Vec<Expr> {
    let local = RTN_LOCAL.to_ne_bytes().to_vec();
    vec![Expr::FibDestinationType { to: 0 }, Expr::Cmp { op: CmpOp::Eq, reg: 0, value: local }]
}

fn output_is(op: CmpOp, link: &str) -> Vec<Expr> {
    let mut name = link.as_bytes().to_vec();
    name.resize(16, 0);
    vec![Expr::Meta { key: MetaKey::OutputName, to: 0 }, Expr::Cmp { op, reg: 0, value: name }]
}

fn l4_is(protocol: u8) -> Vec<Expr> {
    vec![Expr::Meta { key: MetaKey::L4Protocol, to: 0 }, Expr::Cmp { op: CmpOp::Eq, reg: 0, value: vec![protocol] }]
}

fn masked(key: CtKey, bits: u32) -> Vec<Expr> {
    vec![
        Expr::Ct { key, to: 0 },
        Expr::Bitwise { from: 0, to: 0, mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        Expr::Cmp { op: CmpOp::Ne, reg: 0, value: vec![0; 4] },
    ]
}

pub fn rule(chain: &str, exprs: Vec<Expr>) -> Op {
    Op::AddRule { chain: chain.into(), exprs }
}

pub fn with(mut head: Vec<Expr>, tail: impl IntoIterator<Item = Expr>) -> Vec<Expr> {
    head.extend(tail);
    head
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn prefix_mask(prefix: u8, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| {
            let bits = u32::from(prefix).saturating_sub(u32::try_from(i * 8).expect("at most 16 bytes")).min(8);
            u8::try_from((0xff00u32 >> bits) & 0xff).expect("masked to a byte")
        })
        .collect()
}
