//! The Linux side of the network's [`Dataplane`].

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Mutex;

use orlop_api::cidr::Cidr;
use orlop_network::dataplane::{Dataplane, DataplaneError, InterfaceAddress, PodLink, Result, Route};
use orlop_network::nft::{Batch, Family, Op};

use crate::netlink::Socket;
use crate::rtnl::Rtnl;
use crate::{conntrack, netns, nft};

/// Netlink sockets in the network namespace of the thread that made them.
pub struct Linux {
    rtnl: Mutex<Rtnl>,
    netfilter: Mutex<Socket>,
}

impl Linux {
    pub fn new() -> Result<Self> {
        doing("opening netlink sockets", || {
            Ok(Self { rtnl: Mutex::new(Rtnl::open()?), netfilter: Mutex::new(Socket::open(libc::NETLINK_NETFILTER)?) })
        })
    }

    fn rtnl<T>(&self, what: &str, work: impl FnOnce(&Rtnl) -> io::Result<T>) -> Result<T> {
        let rtnl = self.rtnl.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        doing(what, || work(&rtnl))
    }

    fn netfilter<T>(&self, what: &str, work: impl FnOnce(&Socket) -> io::Result<T>) -> Result<T> {
        let socket = self.netfilter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        doing(what, || work(&socket))
    }
}

fn doing<T>(what: &str, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
    work().map_err(|source| DataplaneError { doing: what.to_owned(), source })
}

impl Dataplane for Linux {
    fn label(&self, link: &str) -> Result<Option<String>> {
        self.rtnl(&format!("reading the label of {link}"), |rtnl| rtnl.alias(link))
    }

    fn set_label(&self, link: &str, label: &str) -> Result<()> {
        self.rtnl(&format!("labelling {link}"), |rtnl| rtnl.set_alias(rtnl.index(link)?, label))
    }

    fn ensure_bridge(&self, name: &str, mtu: u32, addresses: &[InterfaceAddress]) -> Result<()> {
        self.rtnl(&format!("making bridge {name}"), |rtnl| {
            match rtnl.create_bridge(name, mtu) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
            let index = rtnl.index(name)?;
            for (_, old) in rtnl.addresses()?.iter().filter(|(link, old)| *link == index && !addresses.contains(old)) {
                let is_link_local = matches!(old.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
                if !is_link_local {
                    rtnl.delete_address(index, *old)?;
                }
            }
            addresses.iter().try_for_each(|address| rtnl.add_address(index, *address))?;
            rtnl.set_up(index)
        })
    }

    fn attach_pod(&self, netns: &Path, link: &PodLink) -> Result<()> {
        self.rtnl(&format!("linking {} to {}", netns.display(), link.bridge), |rtnl| {
            let bridge = rtnl.index(&link.bridge)?;
            let namespace = File::open(netns)?;
            rtnl.delete(&link.host_name)?;
            rtnl.create_veth(&link.host_name, &link.pod_name, link.mac, namespace.as_raw_fd(), link.mtu, bridge)?;
            rtnl.set_hairpin(rtnl.index(&link.host_name)?)
        })?;
        let inside = link.clone();
        doing(&format!("configuring {} in {}", link.pod_name, netns.display()), || {
            netns::within(netns, move || {
                let rtnl = Rtnl::open()?;
                let index = rtnl.index(&inside.pod_name)?;
                inside.addresses.iter().try_for_each(|address| rtnl.add_address(index, *address))?;
                rtnl.set_up(index)?;
                inside.routes.iter().try_for_each(|route| rtnl.set_route(index, route))
            })
        })
    }

    fn delete_link(&self, name: &str) -> Result<()> {
        self.rtnl(&format!("deleting link {name}"), |rtnl| rtnl.delete(name))
    }

    fn links(&self, prefix: &str) -> Result<Vec<String>> {
        self.rtnl("listing links", |rtnl| {
            Ok(rtnl.links()?.into_iter().filter(|name| name.starts_with(prefix)).collect())
        })
    }

    fn ensure_route(&self, link: &str, route: &Route) -> Result<()> {
        self.rtnl(&format!("routing {} to {link}", route.destination), |rtnl| rtnl.set_route(rtnl.index(link)?, route))
    }

    fn delete_route(&self, link: &str, route: &Route) -> Result<()> {
        self.rtnl(&format!("unrouting {} from {link}", route.destination), |rtnl| match rtnl.index(link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            index => rtnl.delete_route(index?, route),
        })
    }

    fn routed(&self, link: &str) -> Result<Vec<Cidr>> {
        self.rtnl(&format!("listing routes to {link}"), |rtnl| rtnl.static_routes(rtnl.index(link)?))
    }

    fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        doing(&format!("setting {name} to {value}"), || std::fs::write(Path::new("/proc/sys").join(name), value))
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.netfilter(&format!("applying nftables table {}", batch.table), |socket| nft::apply(socket, batch))
    }

    fn delete_table(&self, family: Family, table: &str) -> Result<()> {
        self.apply(&Batch { family, table: table.to_owned(), ops: vec![Op::AddTable, Op::DeleteTable] })
    }

    fn forget_udp(&self, destination: IpAddr, port: u16, endpoint: Option<IpAddr>) -> Result<()> {
        self.netfilter(&format!("forgetting UDP flows to {destination}:{port}"), |socket| {
            conntrack::forget_udp(socket, destination, port, endpoint)
        })
    }

    fn node_addresses(&self) -> Result<Vec<IpAddr>> {
        self.rtnl("listing the node's addresses", |rtnl| {
            let preferred = rtnl.default_route_link()?;
            let mut found: Vec<(bool, IpAddr)> = rtnl
                .addresses()?
                .into_iter()
                .map(|(link, own)| (link, own.address))
                .filter(|(_, address)| !address.is_loopback())
                .filter(|(_, address)| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
                .map(|(link, address)| (Some(link) != preferred, address))
                .collect();
            found.sort_by_key(|(other, address)| (*other, address.is_ipv6()));
            Ok(found.into_iter().map(|(_, address)| address).collect())
        })
    }
}
