//! What the names of the cluster mean: the Kubernetes DNS-Based Service Discovery specification 1.1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{EndpointSlice, Service};

/// Record data of our zone; owners are names relative to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    Address(IpAddr),
    /// Target relative to the zone.
    Service {
        port: u16,
        target: String,
    },
    /// A full foreign name.
    Alias(String),
    Text(String),
}

/// What a lookup finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name exists; maybe with no record of the wanted type.
    Records(&'a [Data]),
    /// An address made of the name itself (pod records).
    Computed(IpAddr),
    /// Exists only because names below it do.
    Empty,
    Nothing,
}

/// All names of a cluster domain.
#[derive(Debug)]
pub struct Zone {
    /// `cluster.local`, lower case, no dots at the ends.
    pub domain: String,
    names: BTreeMap<String, Vec<Data>>,
    reverse: BTreeMap<IpAddr, BTreeSet<String>>,
    /// What each Service put in, for taking it out again.
    services: BTreeMap<(String, String), Names>,
    /// Namespaces, counted by their Services: `<ns>.svc` exists while one has any.
    namespaces: BTreeMap<String, usize>,
}

/// The names of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    forward: BTreeMap<String, Vec<Data>>,
    reverse: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl Zone {
    pub fn new(domain: &str) -> Self {
        let mut names = BTreeMap::new();
        names.insert("dns-version".into(), vec![Data::Text("1.1.0".into())]);
        Self {
            domain: domain.to_ascii_lowercase(),
            names,
            reverse: BTreeMap::new(),
            services: BTreeMap::new(),
            namespaces: BTreeMap::new(),
        }
    }

    /// The Service as it is now (`None`: gone), with its slices.
    pub fn set(&mut self, namespace: &str, name: &str, service: Option<&Service>, slices: &[&EndpointSlice]) {
        let key = (namespace.to_owned(), name.to_owned());
        let new = service.map(|s| names_of(s, slices)).unwrap_or_default();
        let old = self.services.remove(&key).unwrap_or_default();
        for name in old.forward.keys() {
            self.names.remove(name);
        }
        for (ip, names) in &old.reverse {
            if let Some(known) = self.reverse.get_mut(ip) {
                known.retain(|name| !names.contains(name));
                if known.is_empty() {
                    self.reverse.remove(ip);
                }
            }
        }
        count(&mut self.namespaces, namespace, &old, &new);
        self.names.extend(new.forward.clone());
        for (ip, names) in &new.reverse {
            self.reverse.entry(*ip).or_default().extend(names.iter().cloned());
        }
        if new != Names::default() {
            self.services.insert(key, new);
        }
    }

    /// Services that have names here.
    pub fn services(&self) -> impl Iterator<Item = &(String, String)> {
        self.services.keys()
    }

    /// Looks up a lower-case name relative to the zone (`web.default.svc`).
    pub fn find(&self, relative: &str) -> Found<'_> {
        if let Some(records) = self.names.get(relative) {
            return Found::Records(records);
        }
        if let Some(found) = self.pod(relative) {
            return found;
        }
        let exists = relative.is_empty()
            || matches!(relative, "svc" | "pod")
            || relative.strip_suffix(".svc").is_some_and(|ns| self.namespaces.contains_key(ns))
            || self.has_below(relative);
        if exists { Found::Empty } else { Found::Nothing }
    }

    /// Names (relative to the zone) that an address leads back to.
    pub fn reverse(&self, address: IpAddr) -> Option<&BTreeSet<String>> {
        self.reverse.get(&address)
    }

    /// `_tcp.web.default.svc` exists when `_http._tcp.web.default.svc` does.
    fn has_below(&self, relative: &str) -> bool {
        let below = format!(".{relative}");
        relative.starts_with('_') && self.names.keys().any(|name| name.starts_with('_') && name.ends_with(&below))
    }

    /// `10-244-0-3.default.pod` is 10.244.0.3, whether or not that pod exists.
    fn pod(&self, relative: &str) -> Option<Found<'_>> {
        let rest = relative.strip_suffix(".pod")?;
        match rest.rsplit_once('.') {
            None => Some(if self.namespaces.contains_key(rest) { Found::Empty } else { Found::Nothing }),
            Some((address, namespace)) if self.namespaces.contains_key(namespace) => {
                let v4 = address.replace('-', ".").parse().map(IpAddr::V4);
                let parsed = v4.or_else(|_| address.replace('-', ":").parse().map(IpAddr::V6));
                Some(parsed.map_or(Found::Nothing, Found::Computed))
            }
            Some(_) => Some(Found::Nothing),
        }
    }
}

fn count(namespaces: &mut BTreeMap<String, usize>, namespace: &str, old: &Names, new: &Names) {
    let (had, has) = (!old.forward.is_empty(), !new.forward.is_empty());
    if has && !had {
        *namespaces.entry(namespace.to_owned()).or_default() += 1;
    } else if had
        && !has
        && let Some(users) = namespaces.get_mut(namespace)
    {
        *users -= 1;
        if *users == 0 {
            namespaces.remove(namespace);
        }
    }
}

fn names_of(service: &Service, slices: &[&EndpointSlice]) -> Names {
    let mut names = Names::default();
    let Some(spec) = &service.spec else { return names };
    let owner = format!("{}.{}.svc", service.name(), service.namespace());
    if spec.type_.as_deref() == Some("ExternalName") {
        if let Some(target) = spec.external_name.as_ref().filter(|t| !t.is_empty()) {
            let data = target.parse().map_or_else(|_| Data::Alias(target.to_ascii_lowercase()), Data::Address);
            names.forward.insert(owner, vec![data]);
        }
        return names;
    }
    let cluster_ips: BTreeSet<IpAddr> =
        spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter_map(|ip| ip.parse().ok()).collect();
    if cluster_ips.is_empty() {
        headless(&mut names, &owner, slices);
        return names;
    }
    for ip in &cluster_ips {
        names.reverse.entry(*ip).or_default().insert(owner.clone());
    }
    for port in spec.ports.iter().flatten() {
        let number = u16::try_from(port.port).unwrap_or_default();
        let record = Data::Service { port: number, target: owner.clone() };
        add_port(&mut names, &owner, port.name.as_deref(), port.protocol.as_deref(), record);
    }
    names.forward.insert(owner, cluster_ips.into_iter().map(Data::Address).collect());
    names
}

/// Every endpoint under the Service's name, and each under its own.
fn headless(names: &mut Names, owner: &str, slices: &[&EndpointSlice]) {
    let mut all = BTreeSet::new();
    for slice in slices {
        for endpoint in slice.endpoints.iter().flatten() {
            if endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(false) {
                continue;
            }
            for address in &endpoint.addresses {
                let Ok(ip) = address.parse::<IpAddr>() else { continue };
                let hostname = endpoint.hostname.clone().filter(|h| !h.is_empty());
                let label = hostname.clone().unwrap_or_else(|| address.replace(['.', ':'], "-"));
                let target = format!("{}.{owner}", label.to_ascii_lowercase());
                all.insert(ip);
                let records = names.forward.entry(target.clone()).or_default();
                if !records.contains(&Data::Address(ip)) {
                    records.push(Data::Address(ip));
                }
                // Only a name that somebody chose is given back for the address.
                if hostname.is_some() {
                    names.reverse.entry(ip).or_default().insert(target.clone());
                }
                for port in slice.ports.iter().flatten() {
                    let Some(number) = port.port.and_then(|p| u16::try_from(p).ok()) else { continue };
                    let record = Data::Service { port: number, target: target.clone() };
                    add_port(names, owner, port.name.as_deref(), port.protocol.as_deref(), record);
                }
            }
        }
    }
    if !all.is_empty() {
        names.forward.insert(owner.to_owned(), all.into_iter().map(Data::Address).collect());
    }
}

/// `_http._tcp.<owner>` for named ports, and `<owner>` itself answers SRV with every port.
fn add_port(names: &mut Names, owner: &str, name: Option<&str>, protocol: Option<&str>, record: Data) {
    let Some(name) = name.filter(|n| !n.is_empty()) else { return };
    let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
    let records = names.forward.entry(format!("_{name}._{protocol}.{owner}")).or_default();
    if !records.contains(&record) {
        records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn zone(services: &[(Value, Value)]) -> Zone {
        let mut zone = Zone::new("Cluster.Local");
        for (service, slice) in services {
            let service = Service::decode(service.to_string().as_bytes()).unwrap();
            let slice = EndpointSlice::decode(slice.to_string().as_bytes()).unwrap();
            zone.set(service.namespace(), service.name(), Some(&service), &[&slice]);
        }
        zone
    }

    fn web() -> (Value, Value) {
        let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
            "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"name": "http", "port": 80}]}});
        (service, json!({"addressType": "IPv4", "endpoints": [], "metadata": {}}))
    }

    fn database() -> (Value, Value) {
        let service = json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "None"}});
        let slice = json!({"metadata": {}, "addressType": "IPv4", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.5"], "hostname": "db-0"},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.7"], "conditions": {"ready": false}}]});
        (service, slice)
    }

    fn address(text: &str) -> Data {
        Data::Address(text.parse().unwrap())
    }

    #[test]
    fn a_cluster_ip_service_has_its_address_ports_and_way_back() {
        let zone = zone(&[web()]);
        assert_eq!(zone.find("web.shop.svc"), Found::Records(&[address("10.96.0.9")]));
        let srv = Data::Service { port: 80, target: "web.shop.svc".into() };
        assert_eq!(zone.find("_http._tcp.web.shop.svc"), Found::Records(&[srv]));
        assert_eq!(zone.reverse("10.96.0.9".parse().unwrap()), Some(&["web.shop.svc".to_owned()].into()));
    }

    #[test]
    fn a_headless_service_has_its_ready_endpoints_by_hostname_or_address() {
        let zone = zone(&[database()]);
        assert_eq!(zone.find("db.shop.svc"), Found::Records(&[address("10.244.0.5"), address("10.244.0.6")]));
        assert_eq!(zone.find("db-0.db.shop.svc"), Found::Records(&[address("10.244.0.5")]));
        assert_eq!(zone.find("10-244-0-6.db.shop.svc"), Found::Records(&[address("10.244.0.6")]));
        assert_eq!(zone.find("10-244-0-7.db.shop.svc"), Found::Nothing);
        let srv = |target: &str| Data::Service { port: 5432, target: target.into() };
        assert_eq!(
            zone.find("_sql._tcp.db.shop.svc"),
            Found::Records(&[srv("db-0.db.shop.svc"), srv("10-244-0-6.db.shop.svc")])
        );
        assert_eq!(zone.reverse("10.244.0.5".parse().unwrap()), Some(&["db-0.db.shop.svc".to_owned()].into()));
        assert_eq!(zone.reverse("10.244.0.6".parse().unwrap()), None);
    }

    #[test]
    fn names_between_exist_and_others_do_not() {
        let zone = zone(&[web()]);
        for name in ["", "svc", "pod", "shop.svc", "shop.pod", "_tcp.web.shop.svc"] {
            assert_eq!(zone.find(name), Found::Empty, "{name}");
        }
        for name in ["other.svc", "x.shop.svc", "10-0-0-1.other.pod", "x.shop.pod", "com", "_udp.web.shop.svc"] {
            assert_eq!(zone.find(name), Found::Nothing, "{name}");
        }
        assert_eq!(zone.find("10-244-0-3.shop.pod"), Found::Computed("10.244.0.3".parse().unwrap()));
        assert_eq!(zone.find("dns-version"), Found::Records(&[Data::Text("1.1.0".into())]));
    }

    #[test]
    fn external_names_are_aliases_and_everything_goes_with_its_service() {
        let external = json!({"metadata": {"name": "ext", "namespace": "shop"},
            "spec": {"type": "ExternalName", "externalName": "Example.com"}});
        let mut zone =
            zone(&[(external, json!({"addressType": "IPv4", "endpoints": [], "metadata": {}})), web(), database()]);
        assert_eq!(zone.find("ext.shop.svc"), Found::Records(&[Data::Alias("example.com".into())]));
        for name in ["ext", "web", "db"] {
            zone.set("shop", name, None, &[]);
        }
        assert_eq!(zone.find("ext.shop.svc"), Found::Nothing);
        assert_eq!(zone.find("shop.svc"), Found::Nothing);
        assert_eq!((zone.names.len(), zone.reverse.len(), zone.services.len()), (1, 0, 0));
    }
}
