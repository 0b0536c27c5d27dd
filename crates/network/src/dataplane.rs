//! What the network needs of the operating system. `orlop-host` does it on Linux, a test in memory.

use std::net::IpAddr;
use std::path::Path;

use orlop_api::cidr::Cidr;

use crate::nft::Batch;

/// What went wrong, with what was attempted.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct DataplaneError {
    pub doing: String,
    #[source]
    pub source: std::io::Error,
}

pub type Result<T> = std::result::Result<T, DataplaneError>;

/// An address that a link has, with the prefix length of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    pub address: IpAddr,
    pub prefix: u8,
}

/// A way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Prefix 0 is the default route.
    pub destination: Cidr,
    pub via: Option<IpAddr>,
    /// Only neighbours on the link (scope link) when there is no `via`.
    pub source: Option<IpAddr>,
}

/// A pod's end of its network, made in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// Name on the node, at most 15 bytes, starts with the owner's prefix.
    pub host_name: String,
    /// Name in the pod (`eth0`).
    pub pod_name: String,
    pub bridge: String,
    pub mtu: u32,
    pub addresses: Vec<InterfaceAddress>,
    pub routes: Vec<Route>,
    /// The pod's end gets this MAC, derived from its address, so that neighbours stay valid.
    pub mac: [u8; 6],
}

/// Synchronous and quick (one netlink round trip each); call from a blocking-tolerant place.
pub trait Dataplane: Send + Sync + 'static {
    /// The label of a link; `None` when it has none or is not there.
    fn label(&self, link: &str) -> Result<Option<String>>;
    /// Labels a link, for people and for [`label`](Self::label).
    fn set_label(&self, link: &str, label: &str) -> Result<()>;
    /// Makes sure of a bridge that is up with these addresses.
    fn ensure_bridge(&self, name: &str, mtu: u32, addresses: &[InterfaceAddress]) -> Result<()>;
    /// Makes a veth pair between the bridge (hairpin on) and the network namespace at `netns`.
    fn attach_pod(&self, netns: &Path, link: &PodLink) -> Result<()>;
    /// Deletes a link; no error when it is gone.
    fn delete_link(&self, name: &str) -> Result<()>;
    /// Names of the links that start with `prefix`.
    fn links(&self, prefix: &str) -> Result<Vec<String>>;
    /// Sends the destination to `link`; replaces what stood.
    fn ensure_route(&self, link: &str, route: &Route) -> Result<()>;
    fn delete_route(&self, link: &str, route: &Route) -> Result<()>;
    /// The destinations sent to `link` by [`ensure_route`](Self::ensure_route), in this life or an earlier one.
    fn routed(&self, link: &str) -> Result<Vec<Cidr>>;
    /// Writes `net/...` under `/proc/sys`.
    fn sysctl(&self, name: &str, value: &str) -> Result<()>;
    /// Applies a batch atomically.
    fn apply(&self, batch: &Batch) -> Result<()>;
    /// Deletes the table if it stands.
    fn delete_table(&self, family: crate::nft::Family, table: &str) -> Result<()>;
    /// Forgets UDP flows to `destination:port` (all of them, or those that went to `endpoint`).
    fn forget_udp(&self, destination: IpAddr, port: u16, endpoint: Option<IpAddr>) -> Result<()>;
    /// The node's own addresses, loopback excluded, and the one the default route uses first.
    fn node_addresses(&self) -> Result<Vec<IpAddr>>;
}
