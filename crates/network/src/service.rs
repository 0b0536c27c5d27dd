//! One Service on one node, decided: from the object and its EndpointSlices to table elements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orlop_api::cidr::Cidr;
use orlop_api::typed::kinds::{EndpointSlice, Service};

use crate::nft::{DataType, ElementValue, Expr, MapValue, Op, Set, Verdict};
use crate::ruleset::{self, Layout, octets, rule, with};

/// What the decision depends on besides the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    pub node_name: String,
    pub cluster_cidr: Cidr,
}

/// Everything one Service puts into the table. Keys of different Services never meet, because the
/// API server gives every address and port to one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// (set, key) -> value; `None` for plain sets.
    pub elements: BTreeMap<(String, Vec<u8>), Option<ElementValue>>,
    /// Chains and sets of the Service's own, in the order they must be made.
    pub own: Vec<Op>,
    /// Endpoint counts whose shared chains it uses.
    pub counts: BTreeSet<u32>,
    /// Endpoints that may reach themselves through the Service.
    pub hairpin: BTreeSet<IpAddr>,
    /// UDP destinations and the endpoints behind them, for forgetting flows.
    pub udp: BTreeMap<(IpAddr, u16), BTreeSet<IpAddr>>,
}

/// A way to endpoints, as a chain to go to.
enum Target {
    /// All `n` endpoints, none preferred: the chains that Services of that size share.
    Shared(u32),
    /// A chain of the Service's own.
    Own(String),
    /// No endpoint: refuse, or drop where the policy says that others may have one.
    Refuse,
    Drop,
}

/// Decides one Service for one address family. `id` is unique per Service and short.
pub fn decide(service: &Service, slices: &[&EndpointSlice], node: &NodeView, layout: Layout, id: &str) -> Contribution {
    let mut out = Contribution::default();
    let Some(spec) = &service.spec else { return out };
    if spec.type_.as_deref() == Some("ExternalName") {
        return out;
    }
    let cluster_ips: Vec<IpAddr> = parse_all(spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip), layout);
    if cluster_ips.is_empty() {
        return out;
    }
    let load_balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|l| l.ingress.as_ref());
    let ingress = load_balancer.into_iter().flatten().filter(|i| i.ip_mode.as_deref() != Some("Proxy"));
    let external_ips =
        parse_all(ingress.filter_map(|i| i.ip.as_ref()).chain(spec.external_ips.iter().flatten()), layout);
    for (position, port) in spec.ports.iter().flatten().enumerate() {
        let Some(protocol) = protocol_number(port.protocol.as_deref().unwrap_or("TCP")) else { continue };
        let endpoints = Endpoints::select(slices, port.name.as_deref().unwrap_or_default(), &node.node_name, layout);
        let number = u16::try_from(port.port).unwrap_or_default();
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
            u64::try_from(config.and_then(|c| c.timeout_seconds).unwrap_or(10_800)).unwrap_or(10_800)
        });
        let mut plan = PortPlan { out: &mut out, layout, node, protocol, affinity, prefix: format!("{id}-{position}") };
        let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
        let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
        for ip in &cluster_ips {
            plan.internal(*ip, number, &endpoints, internal_local);
        }
        for ip in &external_ips {
            plan.external(*ip, number, &endpoints, external_local);
        }
        if let Some(node_port) = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0) {
            plan.node_port(node_port, &endpoints, external_local);
        }
        if protocol == UDP {
            let behind: BTreeSet<IpAddr> = endpoints.all.iter().map(|(ip, _)| *ip).collect();
            for ip in cluster_ips.iter().chain(&external_ips) {
                out.udp.insert((*ip, number), behind.clone());
            }
        }
        out.hairpin.extend(endpoints.local.iter().map(|(ip, _)| *ip));
    }
    for ip in cluster_ips {
        out.elements.insert((ruleset::CLUSTER_IPS.into(), octets(ip)), None);
    }
    out
}

const UDP: u8 = 17;

/// IANA protocol numbers of the three protocols a Service may name.
pub fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "TCP" => Some(6),
        "UDP" => Some(UDP),
        "SCTP" => Some(132),
        _ => None,
    }
}

fn parse_all<'a>(texts: impl Iterator<Item = &'a String>, layout: Layout) -> Vec<IpAddr> {
    let found: BTreeSet<IpAddr> = texts.filter_map(|t| t.parse().ok()).filter(|ip| layout.holds(*ip)).collect();
    found.into_iter().collect()
}

/// The endpoints of one service port that take traffic.
#[derive(Debug, Default)]
struct Endpoints {
    all: Vec<(IpAddr, u16)>,
    /// Those on this node.
    local: Vec<(IpAddr, u16)>,
}

impl Endpoints {
    /// Ready ones; when there is none, those that still serve while they terminate (KEP-1669).
    fn select(slices: &[&EndpointSlice], port_name: &str, node_name: &str, layout: Layout) -> Self {
        let mut ready = BTreeMap::new();
        let mut terminating = BTreeMap::new();
        for slice in slices {
            let port = slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == port_name);
            let Some(port) = port.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let is_ready = conditions.ready.unwrap_or(true);
                let serves = conditions.serving.unwrap_or(is_ready) && conditions.terminating.unwrap_or(false);
                let into = match (is_ready, serves) {
                    (true, _) => &mut ready,
                    (false, true) => &mut terminating,
                    (false, false) => continue,
                };
                let is_local = endpoint.node_name.as_deref() == Some(node_name);
                // Only the first address counts, as upstream has it.
                let address = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok());
                if let Some(address) = address.filter(|a| layout.holds(*a)) {
                    into.insert((address, port), is_local);
                }
            }
        }
        let chosen = |only_local: bool| -> Vec<(IpAddr, u16)> {
            let pick = |from: &BTreeMap<(IpAddr, u16), bool>| -> Vec<(IpAddr, u16)> {
                from.iter().filter(|(_, local)| **local || !only_local).map(|(e, _)| *e).collect()
            };
            let first = pick(&ready);
            if first.is_empty() { pick(&terminating) } else { first }
        };
        Self { all: chosen(false), local: chosen(true) }
    }
}

struct PortPlan<'a> {
    out: &'a mut Contribution,
    layout: Layout,
    node: &'a NodeView,
    protocol: u8,
    /// Seconds a client stays with its endpoint.
    affinity: Option<u64>,
    /// Names of own chains start so.
    prefix: String,
}

impl PortPlan<'_> {
    fn internal(&mut self, ip: IpAddr, port: u16, endpoints: &Endpoints, only_local: bool) {
        let target = self.target(endpoints, only_local);
        let key = service_key(ip, self.protocol, port);
        if let Target::Shared(n) = target {
            self.balance(&format!("ep{n}"), &key, if only_local { &endpoints.local } else { &endpoints.all });
        }
        self.enter(ruleset::SERVICES, ruleset::REFUSED, key, target, "n");
    }

    fn external(&mut self, ip: IpAddr, port: u16, endpoints: &Endpoints, only_local: bool) {
        let key = service_key(ip, self.protocol, port);
        let target = self.entrance(endpoints, only_local);
        if let Target::Shared(n) = target {
            self.balance(&format!("ep{n}"), &key, &endpoints.all);
        }
        self.enter(ruleset::SERVICES, ruleset::REFUSED, key, target, "x");
    }

    fn node_port(&mut self, port: u16, endpoints: &Endpoints, only_local: bool) {
        let key = port_key(self.protocol, port);
        let target = self.entrance(endpoints, only_local);
        if let Target::Shared(n) = target {
            self.balance(&format!("np{n}"), &key, &endpoints.all);
        }
        self.enter(ruleset::NODE_PORTS, ruleset::REFUSED_NODE_PORTS, key, target, "p");
    }

    /// Puts the key where its target is found.
    fn enter(&mut self, served: &str, refused: &str, key: Vec<u8>, target: Target, shared: &str) {
        let (set, verdict) = match target {
            Target::Shared(n) => {
                self.out.counts.insert(n);
                (served, Verdict::Goto(format!("{shared}{n}")))
            }
            Target::Own(chain) => (served, Verdict::Goto(chain)),
            Target::Refuse => (refused, Verdict::Goto(ruleset::REFUSE.into())),
            Target::Drop => (refused, Verdict::Drop),
        };
        self.out.elements.insert((set.into(), key), Some(ElementValue::Verdict(verdict)));
    }

    fn balance(&mut self, map: &str, key: &[u8], endpoints: &[(IpAddr, u16)]) {
        for (n, endpoint) in (0u32..).zip(endpoints) {
            let key = [key, &n.to_ne_bytes()].concat();
            self.out.elements.insert((map.into(), key), Some(ElementValue::Data(endpoint_value(*endpoint))));
        }
    }

    /// Where traffic to a cluster IP goes.
    fn target(&mut self, endpoints: &Endpoints, only_local: bool) -> Target {
        let list = if only_local { &endpoints.local } else { &endpoints.all };
        match (list.len(), self.affinity) {
            (0, _) if only_local && !endpoints.all.is_empty() => Target::Drop,
            (0, _) => Target::Refuse,
            (n, None) => Target::Shared(count(n)),
            (_, Some(_)) => Target::Own(self.own_balancer(list, only_local)),
        }
    }

    /// Where traffic from outside goes: with policy Cluster under the node's own address, with
    /// policy Local only to this node's endpoints, the client's address kept. Pods and the node
    /// itself are inside and always see all endpoints.
    fn entrance(&mut self, endpoints: &Endpoints, only_local: bool) -> Target {
        if !only_local {
            return match (endpoints.all.len(), self.affinity) {
                (0, _) => Target::Refuse,
                (n, None) => Target::Shared(count(n)),
                (_, Some(_)) => {
                    let balancer = self.own_balancer(&endpoints.all, false);
                    Target::Own(self.own_chain("x", vec![ruleset::mark(), goto(&balancer)]))
                }
            };
        }
        if endpoints.all.is_empty() {
            return Target::Refuse;
        }
        let everywhere = self.own_balancer(&endpoints.all, false);
        let outside = if endpoints.local.is_empty() {
            vec![Expr::Verdict(Verdict::Drop)]
        } else {
            goto(&self.own_balancer(&endpoints.local, true))
        };
        let from_pod = with(ruleset::source_is_pod(self.layout, self.node.cluster_cidr), goto(&everywhere));
        let entrance = self.own_chain("e", vec![from_pod, outside]);
        Target::Own(entrance)
    }

    fn own_chain(&mut self, suffix: &str, rules: Vec<Vec<Expr>>) -> String {
        let name = format!("{}{suffix}", self.prefix);
        let chain = Op::AddChain { name: name.clone(), base: None };
        if !self.out.own.contains(&chain) {
            self.out.own.push(chain);
            self.out.own.extend(rules.into_iter().map(|exprs| rule(&name, exprs)));
        }
        name
    }

    /// A chain that spreads over `endpoints`, keeping each client with its own when asked to.
    fn own_balancer(&mut self, endpoints: &[(IpAddr, u16)], only_local: bool) -> String {
        let suffix = if only_local { "l" } else { "c" };
        let name = format!("{}{suffix}", self.prefix);
        if self.out.own.contains(&Op::AddChain { name: name.clone(), base: None }) {
            return name;
        }
        let (layout, words) = (self.layout, self.layout.words());
        let spread = format!("{name}-ep");
        let plain = |name: &str, key, value| {
            Op::AddSet(Set { name: name.into(), key, value, timeout_seconds: None, size: None })
        };
        let endpoint = MapValue::Data(layout.endpoint());
        self.out.own.push(plain(&spread, vec![DataType::Mark], Some(endpoint.clone())));
        self.balance(&spread, &[], endpoints);
        // Registers: client address, then the random number, then the endpoint it leads to.
        let (index, found) = (words, words + 1);
        let mut rules = Vec::new();
        let mut pick = vec![
            Expr::Random { to: index, modulus: count(endpoints.len()) },
            Expr::LookupMap { map: spread, key: index, to: found },
        ];
        if let Some(seconds) = self.affinity {
            let (clients, live) = (format!("{name}-aff"), format!("{name}-live"));
            self.out.own.push(Op::AddSet(Set {
                name: clients.clone(),
                key: vec![layout.address_type()],
                value: Some(endpoint),
                timeout_seconds: Some(seconds),
                size: Some(AFFINITY_CLIENTS_MAX),
            }));
            self.out.own.push(plain(&live, layout.endpoint(), None));
            for endpoint in endpoints {
                self.out.elements.insert((live.clone(), endpoint_value(*endpoint)), None);
            }
            rules.push(vec![
                layout.load_source(0),
                Expr::LookupMap { map: clients.clone(), key: 0, to: found },
                Expr::Lookup { set: live, key: found, inverted: false },
                Expr::Update { set: clients.clone(), key: 0, value: Some(found) },
                layout.dnat(found),
            ]);
            pick.extend([layout.load_source(0), Expr::Update { set: clients, key: 0, value: Some(found) }]);
        }
        pick.push(layout.dnat(found));
        rules.push(pick);
        self.own_chain(suffix, rules)
    }
}

/// Clients remembered per service port; past it new clients are spread at random.
const AFFINITY_CLIENTS_MAX: u32 = 65_536;

fn goto(chain: &str) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Goto(chain.into()))]
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a Service has fewer than 2^32 endpoints")
}

pub fn service_key(ip: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    [octets(ip), port_key(protocol, port)].concat()
}

pub fn port_key(protocol: u8, port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    vec![protocol, 0, 0, 0, port[0], port[1], 0, 0]
}

pub fn endpoint_value((ip, port): (IpAddr, u16)) -> Vec<u8> {
    let port = port.to_be_bytes();
    [octets(ip), vec![port[0], port[1], 0, 0]].concat()
}
