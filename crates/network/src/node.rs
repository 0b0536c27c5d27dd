//! The network of one node: its bridge, its pods' links, its table.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use orlop_api::cidr::Cidr;
use orlop_runtime::{PodNetwork, PortMapping, Result, RuntimeError, Sandbox};

use crate::dataplane::{Dataplane, DataplaneError, InterfaceAddress, PodLink, Route};
use crate::ipam::{Ipam, Lease};
use crate::nft::{ElementValue, Family, Op};
use crate::ruleset::{HOST_PORTS, HOST_PORTS_AT, Layout, NodeNetwork};
use crate::service::{Contribution, NodeView, endpoint_value, port_key, protocol_number, service_key};
use crate::table::{StaleFlow, TABLE, Table};

/// Every link that this node makes starts so.
pub const LINK_PREFIX: &str = "orlop";

#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub node_name: String,
    /// What tells this node from another of the same machine: its data directory.
    pub owner: String,
    /// Where leases are kept.
    pub state_dir: PathBuf,
    pub bridge: String,
    pub mtu: u32,
    /// One entry per address family, primary first.
    pub families: Vec<FamilyConfig>,
}

/// The prefixes of one address family.
#[derive(Clone, Copy, Debug)]
pub struct FamilyConfig {
    pub cluster_cidr: Cidr,
    pub node_cidr: Cidr,
    /// Services' first range; ServiceCIDRs tell of more.
    pub service_cidr: Cidr,
}

impl FamilyConfig {
    /// The bridge's own address: the pods' gateway.
    pub fn gateway(&self) -> InterfaceAddress {
        InterfaceAddress { address: self.node_cidr.nth(1), prefix: self.node_cidr.prefix() }
    }
}

/// See the module. Cheap to clone; all clones are one node.
#[derive(Clone)]
pub struct NodeNetworking(Arc<Inner>);

struct Inner {
    config: NodeConfig,
    dataplane: Arc<dyn Dataplane>,
    state: Mutex<State>,
}

struct State {
    ipam: Ipam,
    /// In the order of the configuration's families.
    tables: Vec<Table>,
    /// Whether the kernel follows; until then changes are only remembered.
    live: bool,
}

impl NodeNetworking {
    /// Makes the bridge and the routes to Services; keeps what pods and Services of an earlier life have
    /// until [`NodeNetworking::go_live`].
    pub fn start(config: NodeConfig, dataplane: Arc<dyn Dataplane>) -> std::result::Result<Self, DataplaneError> {
        let cidrs: Vec<Cidr> = config.families.iter().map(|f| f.node_cidr).collect();
        let ipam = Ipam::open(config.state_dir.clone(), &cidrs).map_err(|source| DataplaneError {
            doing: format!("reading leases in {}", config.state_dir.display()),
            source,
        })?;
        let tables = config.families.iter().map(|f| Table::new(layout(f))).collect();
        let this = Self(Arc::new(Inner { config, dataplane, state: Mutex::new(State { ipam, tables, live: false }) }));
        this.set_up()?;
        Ok(this)
    }

    fn set_up(&self) -> std::result::Result<(), DataplaneError> {
        let Inner { config, dataplane, .. } = &*self.0;
        let gateways: Vec<InterfaceAddress> = config.families.iter().map(FamilyConfig::gateway).collect();
        if let Some(other) = stranger(&**dataplane, &config.bridge, &config.owner)? {
            let why = format!("{} belongs to the node of {other}: reset that one first", config.bridge);
            return Err(DataplaneError { doing: "setting up the pod network".into(), source: io::Error::other(why) });
        }
        dataplane.ensure_bridge(&config.bridge, config.mtu, &gateways)?;
        dataplane.set_label(&config.bridge, label(&config.owner))?;
        for family in &config.families {
            if family.node_cidr.network().is_ipv4() {
                dataplane.sysctl("net/ipv4/ip_forward", "1")?;
                // A node port asked for on 127.0.0.1 leaves through the bridge.
                dataplane.sysctl(&format!("net/ipv4/conf/{}/route_localnet", config.bridge), "1")?;
            } else {
                dataplane.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            }
            dataplane.ensure_route(&config.bridge, &to_services(family.service_cidr))?;
        }
        let mut state = self.state();
        let leases: Vec<(String, Lease)> = state.ipam.leases().map(|(id, lease)| (id.clone(), lease.clone())).collect();
        for (id, lease) in &leases {
            self.publish_host_ports(&mut state, id, Some(lease));
        }
        Ok(())
    }

    /// Replaces the kernel's table by what is known now; from here on every change goes there too.
    pub fn go_live(&self) -> std::result::Result<(), DataplaneError> {
        let mut state = self.state();
        state.live = true;
        state.tables.iter().try_for_each(|table| self.rebuild(table))
    }

    /// Services have addresses of these ranges, besides the configured ones, and of no others.
    pub fn set_service_ranges(&self, ranges: &[Cidr]) -> std::result::Result<(), DataplaneError> {
        let Inner { config, dataplane, .. } = &*self.0;
        let own = dataplane.node_addresses()?;
        let is_served = |cidr: &Cidr| config.families.iter().any(|f| layout(f).holds(cidr.network()));
        let more = ranges.iter().copied().filter(is_served).filter(|cidr| {
            let takes = own.iter().find(|ip| cidr.contains(**ip));
            if let Some(ip) = takes {
                tracing::warn!(%cidr, %ip, "not routing this range: the machine is in it and would be cut off");
            }
            takes.is_none()
        });
        let wanted = config.families.iter().map(|f| f.service_cidr).chain(more).map(to_services);
        let wanted: BTreeSet<Route> = wanted.collect();
        let known: BTreeSet<Route> = dataplane.routed(&config.bridge)?.into_iter().map(to_services).collect();
        known.difference(&wanted).try_for_each(|route| dataplane.delete_route(&config.bridge, route))?;
        wanted.difference(&known).try_for_each(|route| dataplane.ensure_route(&config.bridge, route))
    }

    /// The node's view that Services are decided with, per family of the configuration.
    pub fn views(&self) -> Vec<(Layout, NodeView)> {
        let of =
            |f: &FamilyConfig| NodeView { node_name: self.0.config.node_name.clone(), cluster_cidr: f.cluster_cidr };
        self.0.config.families.iter().map(|f| (layout(f), of(f))).collect()
    }

    /// Puts new contributions of one Service (one per family) into the kernel.
    pub fn set_service(&self, key: &str, contributions: Vec<Contribution>) {
        let mut state = self.state();
        self.set(&mut state, key, contributions);
    }

    /// Keys of the Services that have something in the table.
    pub fn service_keys(&self) -> Vec<String> {
        let state = self.state();
        let keys: BTreeSet<String> = state.tables.iter().flat_map(Table::keys).cloned().collect();
        keys.into_iter().filter(|key| !key.starts_with(HOST_PORT_KEY)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: &mut State, key: &str, contributions: Vec<Contribution>) {
        for (table, contribution) in state.tables.iter_mut().zip(contributions) {
            let (ops, stale) = table.set(key, contribution);
            if state.live {
                self.apply(table, ops, key);
                self.forget(&stale);
            }
        }
    }

    /// A change that the kernel refuses means that its table is not what we think: put it whole.
    fn apply(&self, table: &Table, ops: Vec<Op>, why: &str) {
        let dataplane = &self.0.dataplane;
        if let Err(error) = dataplane.apply(&table.batch(ops)) {
            tracing::warn!(%why, error = orlop_base::error::chain(&error), "service rules changed under us, writing them anew");
            if let Err(error) = self.rebuild(table) {
                tracing::error!(%why, error = orlop_base::error::chain(&error), "service rules cannot be written");
            }
        }
    }

    fn rebuild(&self, table: &Table) -> std::result::Result<(), DataplaneError> {
        let config = &self.0.config;
        let family = config.families.iter().find(|f| layout(f) == table.layout());
        let Some(family) = family else { return Ok(()) };
        let node = NodeNetwork {
            bridge: config.bridge.clone(),
            cluster_cidr: family.cluster_cidr,
            node_cidr: family.node_cidr,
        };
        self.0.dataplane.apply(&table.rebuild(&node))
    }

    fn forget(&self, stale: &[StaleFlow]) {
        for (ip, port, endpoint) in stale {
            if let Err(error) = self.0.dataplane.forget_udp(*ip, *port, *endpoint) {
                tracing::warn!(%ip, port, error = orlop_base::error::chain(&error), "UDP flows are not forgotten");
            }
        }
    }

    fn publish_host_ports(&self, state: &mut State, sandbox_id: &str, lease: Option<&Lease>) {
        let key = format!("{HOST_PORT_KEY}{sandbox_id}");
        let contributions = self
            .0
            .config
            .families
            .iter()
            .map(|f| lease.map_or_else(Contribution::default, |l| host_ports(layout(f), l)));
        let contributions = contributions.collect();
        self.set(state, &key, contributions);
    }

    fn attach_blocking(&self, sandbox: &Sandbox, ports: &[PortMapping]) -> io::Result<Vec<IpAddr>> {
        let Some(netns) = &sandbox.netns else {
            return Err(io::Error::other(format!("sandbox {} shares the node's network", sandbox.id)));
        };
        let config = &self.0.config;
        let mut state = self.state();
        let known = state.ipam.get(&sandbox.id).is_some();
        let lease = state.ipam.lease(&sandbox.id, link_name(&sandbox.id), ports)?;
        let linked = known && self.0.dataplane.links(&lease.link).map_err(io::Error::other)?.contains(&lease.link);
        if !linked {
            let prefixed = |address: &IpAddr| {
                let family = config.families.iter().find(|f| f.node_cidr.contains(*address));
                InterfaceAddress { address: *address, prefix: family.map_or(32, |f| f.node_cidr.prefix()) }
            };
            let default = |f: &FamilyConfig| {
                let anywhere = Cidr::of(f.node_cidr.network(), 0);
                Route { destination: anywhere, via: Some(f.gateway().address), source: None }
            };
            let link = PodLink {
                host_name: lease.link.clone(),
                pod_name: "eth0".into(),
                bridge: config.bridge.clone(),
                mtu: config.mtu,
                addresses: lease.addresses.iter().map(prefixed).collect(),
                routes: config.families.iter().map(default).collect(),
                mac: mac(&lease.addresses),
            };
            if let Err(error) = self.0.dataplane.attach_pod(netns, &link) {
                state.ipam.release(&sandbox.id)?;
                return Err(io::Error::other(error));
            }
            self.publish_host_ports(&mut state, &sandbox.id, Some(&lease));
        }
        Ok(lease.addresses)
    }

    fn detach_blocking(&self, sandbox_id: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Some(lease) = state.ipam.get(sandbox_id).cloned() {
            self.0.dataplane.delete_link(&lease.link).map_err(io::Error::other)?;
            self.publish_host_ports(&mut state, sandbox_id, None);
            state.ipam.release(sandbox_id)?;
        }
        Ok(())
    }

    /// Runs `work` where it may block: links and namespaces take milliseconds.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: String,
        work: impl FnOnce(Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        let outcome = tokio::task::spawn_blocking(move || work(this)).await;
        outcome.map_err(io::Error::other).flatten().map_err(|source| RuntimeError::Io { doing, source })
    }
}

const HOST_PORT_KEY: &str = "hostports/";

impl PodNetwork for NodeNetworking {
    fn attach<'a>(&'a self, sandbox: &'a Sandbox, ports: &'a [PortMapping]) -> BoxFuture<'a, Result<Vec<IpAddr>>> {
        let (sandbox, ports) = (sandbox.clone(), ports.to_vec());
        let doing = format!("attaching the network of sandbox {}", sandbox.id);
        Box::pin(self.blocking(doing, move |this| this.attach_blocking(&sandbox, &ports)))
    }

    fn detach<'a>(&'a self, sandbox_id: &'a str) -> BoxFuture<'a, Result<()>> {
        let id = sandbox_id.to_owned();
        let doing = format!("detaching the network of sandbox {id}");
        Box::pin(self.blocking(doing, move |this| this.detach_blocking(&id)))
    }

    fn adopt<'a>(&'a self, live_sandbox_ids: &'a [String]) -> BoxFuture<'a, Result<()>> {
        let live = live_sandbox_ids.to_vec();
        Box::pin(self.blocking("freeing what dead sandboxes held".into(), move |this| {
            let known: Vec<String> = this.state().ipam.leases().map(|(id, _)| id.clone()).collect();
            known.iter().filter(|id| !live.contains(id)).try_for_each(|id| this.detach_blocking(id))
        }))
    }

    fn addresses(&self, sandbox_id: &str) -> Vec<IpAddr> {
        self.state().ipam.get(sandbox_id).map(|lease| lease.addresses.clone()).unwrap_or_default()
    }
}

/// Removes every link and table of the node of `owner`; pods' ends go with their links. A machine's network
/// has one node: if it is another's, nothing here is ours.
pub fn reset(dataplane: &dyn Dataplane, bridge: &str, owner: &str) -> std::result::Result<(), DataplaneError> {
    if stranger(dataplane, bridge, owner)?.is_some() {
        return Ok(());
    }
    dataplane.delete_table(Family::Ipv4, TABLE)?;
    dataplane.delete_table(Family::Ipv6, TABLE)?;
    // The bridge says whose all this is, so it goes last.
    let links = dataplane.links(LINK_PREFIX)?;
    links.iter().filter(|link| *link != bridge).try_for_each(|link| dataplane.delete_link(link))?;
    dataplane.delete_link(bridge)
}

/// Who else has the network.
fn stranger(
    dataplane: &dyn Dataplane,
    bridge: &str,
    owner: &str,
) -> std::result::Result<Option<String>, DataplaneError> {
    Ok(dataplane.label(bridge)?.filter(|found| !found.is_empty() && found != label(owner)))
}

/// The kernel keeps 255 bytes (`IFALIASZ`); of a path the end tells more.
fn label(owner: &str) -> &str {
    let mut start = owner.len().saturating_sub(255);
    while !owner.is_char_boundary(start) {
        start += 1;
    }
    &owner[start..]
}

/// The node's own connections to a cluster IP need a way out before they are translated.
fn to_services(range: Cidr) -> Route {
    Route { destination: range, via: None, source: None }
}

fn layout(family: &FamilyConfig) -> Layout {
    Layout { family: if family.node_cidr.network().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 } }
}

/// At most 15 bytes, as the kernel wants it, and the same after a restart.
fn link_name(sandbox_id: &str) -> String {
    format!("{LINK_PREFIX}{}", sandbox_id.chars().take(10).collect::<String>())
}

/// A locally administered MAC made of the first address: a reused address brings its MAC along.
fn mac(addresses: &[IpAddr]) -> [u8; 6] {
    let tail = match addresses.first() {
        Some(IpAddr::V4(v4)) => v4.octets(),
        Some(IpAddr::V6(v6)) => {
            let o = v6.octets();
            [o[12], o[13], o[14], o[15]]
        }
        None => [0; 4],
    };
    [0x0a, 0x58, tail[0], tail[1], tail[2], tail[3]]
}

fn host_ports(layout: Layout, lease: &Lease) -> Contribution {
    let mut out = Contribution::default();
    let Some(pod) = lease.addresses.iter().copied().find(|a| layout.holds(*a)) else { return out };
    for port in &lease.ports {
        let Some(protocol) = protocol_number(&port.protocol) else { continue };
        let at = port.host_ip.filter(|ip| !ip.is_unspecified());
        if at.is_some_and(|ip| !layout.holds(ip)) {
            continue;
        }
        let (set, key) = match at {
            Some(ip) => (HOST_PORTS_AT, service_key(ip, protocol, port.host_port)),
            None => (HOST_PORTS, port_key(protocol, port.host_port)),
        };
        out.elements.insert((set.into(), key), Some(ElementValue::Data(endpoint_value((pod, port.container_port)))));
        out.hairpin.insert(pod);
    }
    out
}
