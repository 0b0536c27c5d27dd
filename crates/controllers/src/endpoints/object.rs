//! Endpoints: everything a Service leads to, in one object, for programmes that know no slices.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{Endpoints, Pod, Service};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, View, Write};

use super::backends::{self, Family, HEADLESS, TRIGGER_TIME};
use crate::common::pods;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Larger objects cost too much at every change; ready addresses are kept first.
const MAX_ADDRESSES: usize = 1000;

/// After the name in the key of what a deleted Service left behind: no name holds a slash.
const LEFT_BEHIND: &str = "/deleted";

pub fn controller() -> Controller {
    let sources = vec![
        Source::of::<Service>(|delta, _, wake| {
            let service = delta.object();
            wake(Key::of(&**service));
            if delta.new.is_none() {
                wake(Key::new(service.namespace(), &format!("{}{LEFT_BEHIND}", service.name())));
            }
        }),
        Source::of::<Pod>(backends::wake_services_of_pod),
        Source::of::<Endpoints>(|delta, _, wake| wake(Key::of(&**delta.object()))),
    ];
    let mut grants = vec![
        Grant::new("", &["pods", "services"], &["get", "list", "watch"]),
        Grant::new("", &["endpoints"], &["create", "delete", "get", "list", "update", "watch"]),
        Grant::new("", &["endpoints/restricted"], &["create"]),
    ];
    grants.extend(Grant::EVENTS);
    Controller::new("endpoint-controller", "endpoint", sources, grants, decide)
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let (name, left_behind) = match key.name().strip_suffix(LEFT_BEHIND) {
        Some(name) => (name, true),
        None => (key.name(), false),
    };
    let known = view.of::<Endpoints>().get(key.namespace(), name);
    let mut plan = Plan::none();
    let Some(service) = view.of::<Service>().get(key.namespace(), name) else {
        // Endpoints that somebody made for a Service to come are left alone.
        if let Some(known) = known.filter(|known| left_behind || is_ours(known)) {
            plan.write(Write::delete(&**known));
        }
        return plan;
    };
    let Some(selector) = backends::selector(service) else { return plan };
    let mut subsets = Subsets::default();
    for pod in backends::selected(service, &selector, view) {
        if backends::counts(pod, backends::publishes_not_ready(service)) {
            subsets.add(service, pod);
        }
    }
    let wanted = subsets.pack();
    let Some(known) = known else {
        let made = fill(Endpoints::default(), service, wanted, None);
        let text = format!("Failed to create endpoint for service {}/{}: {{error}}", key.namespace(), name);
        plan.write(Write::create(&made).failed(Note::warning(&made, "FailedToCreateEndpoint", text)));
        return plan;
    };
    let current = Subsets::of(known).pack();
    let over = current.iter().map(size).sum::<usize>() > MAX_ADDRESSES || has_annotation(known, OVER_CAPACITY);
    if current == wanted && has_labels(known, service) && !over {
        return plan;
    }
    let made = fill((**known).clone(), service, wanted.clone(), triggered(&current, &wanted, view, key));
    if made.subsets == known.subsets && has_labels(known, service) && over {
        // Already cut to size.
        return plan;
    }
    let text = format!("Failed to update endpoint {}/{}: {{error}}", key.namespace(), name);
    plan.write(Write::update(&made).failed(Note::warning(&made, "FailedToUpdateEndpoint", text)));
    plan
}

fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY)).is_some_and(|m| m == MANAGER)
}

fn has_annotation(endpoints: &Endpoints, key: &str) -> bool {
    endpoints.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(key))
}

/// The Service's labels and this controller's mark; whether it is headless is not looked at.
fn has_labels(endpoints: &Endpoints, service: &Service) -> bool {
    let own = |labels: Option<&BTreeMap<String, String>>| {
        let all = labels.into_iter().flatten().filter(|(key, _)| *key != HEADLESS && *key != MANAGED_BY);
        all.map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
    };
    is_ours(endpoints) && own(endpoints.metadata.labels.as_ref()) == own(service.metadata.labels.as_ref())
}

fn fill(base: Endpoints, service: &Service, subsets: Vec<EndpointSubset>, at: Option<Timestamp>) -> Endpoints {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let first = base.metadata.uid.is_none();
    let at = if first { service.metadata.creation_timestamp.as_ref().map(|t| t.0) } else { at };
    let mut annotations = base.metadata.annotations.clone().unwrap_or_default();
    let (subsets, truncated) = truncate(subsets);
    for (key, value) in
        [(TRIGGER_TIME, at.map(|at| at.to_string())), (OVER_CAPACITY, truncated.then(|| "truncated".to_owned()))]
    {
        match value {
            Some(value) => annotations.insert(key.to_owned(), value),
            None => annotations.remove(key),
        };
    }
    let metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..base.metadata
    };
    Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) }
}

/// When the earliest of those pods changed whose address is new or moved.
fn triggered(old: &[EndpointSubset], new: &[EndpointSubset], view: &View, key: &Key) -> Option<Timestamp> {
    let entries = |subsets: &[EndpointSubset]| {
        let mut all = BTreeSet::new();
        for subset in subsets {
            for (ready, addresses) in [(true, &subset.addresses), (false, &subset.not_ready_addresses)] {
                all.extend(addresses.iter().flatten().map(|a| (a.ip.clone(), pod_name(a), ready)));
            }
        }
        all
    };
    let (old, new) = (entries(old), entries(new));
    let pods = new.difference(&old).filter_map(|(_, pod, _)| view.of::<Pod>().get(key.namespace(), pod.as_deref()?));
    pods.filter_map(|pod| backends::changed_at(pod)).min()
}

fn pod_name(address: &EndpointAddress) -> Option<String> {
    address.target_ref.as_ref().and_then(|t| t.name.clone())
}

type AddressKey = (String, Option<String>);
/// Name, number, protocol, application protocol; `None` for a headless Service without ports.
type PortKey = Option<(Option<String>, i32, String, Option<String>)>;

/// For every port the addresses that offer it, and whether they are ready there.
#[derive(Default)]
struct Subsets {
    addresses: BTreeMap<AddressKey, EndpointAddress>,
    ports: BTreeMap<PortKey, BTreeMap<AddressKey, bool>>,
}

impl Subsets {
    /// As an object has them.
    fn of(endpoints: &Endpoints) -> Self {
        let mut all = Self::default();
        for subset in endpoints.subsets.iter().flatten() {
            let ports: Vec<PortKey> = match subset.ports.as_deref().unwrap_or_default() {
                [] => vec![None],
                ports => ports.iter().map(|p| Some(port_key(p))).collect(),
            };
            for port in ports {
                for (ready, addresses) in [(true, &subset.addresses), (false, &subset.not_ready_addresses)] {
                    addresses.iter().flatten().for_each(|a| all.put(port.clone(), a.clone(), ready));
                }
            }
        }
        all
    }

    fn add(&mut self, service: &Service, pod: &Pod) {
        let Some(ip) = address(service, pod) else { return };
        let address = EndpointAddress {
            ip,
            node_name: pods::node_name(pod).map(str::to_owned),
            target_ref: Some(backends::reference(pod)),
            hostname: backends::hostname(pod, service),
        };
        let ready = backends::publishes_not_ready(service) || pods::is_ready(pod);
        if backends::ports(service).is_empty() && backends::is_explicitly_headless(service) {
            self.put(None, address, ready);
            return;
        }
        for port in backends::ports(service) {
            if let Some(number) = backends::find_port(pod, port) {
                let name = port.name.clone().filter(|n| !n.is_empty());
                let key = (name, number, backends::protocol(port).to_owned(), port.app_protocol.clone());
                self.put(Some(key), address.clone(), ready);
            }
        }
    }

    /// An address that is not ready once is not ready for this port.
    fn put(&mut self, port: PortKey, address: EndpointAddress, ready: bool) {
        let key = (address.ip.clone(), address.target_ref.as_ref().and_then(|t| t.uid.clone()));
        let known = self.ports.entry(port).or_default().entry(key.clone()).or_insert(ready);
        *known &= ready;
        self.addresses.entry(key).or_insert(address);
    }

    /// Ports that the same addresses offer share a subset; everything in one order.
    fn pack(self) -> Vec<EndpointSubset> {
        let mut by_addresses = BTreeMap::<BTreeMap<AddressKey, bool>, Vec<PortKey>>::new();
        for (port, addresses) in self.ports {
            by_addresses.entry(addresses).or_default().push(port);
        }
        let list = |addresses: &BTreeMap<AddressKey, bool>, wanted: bool| {
            let found = addresses.iter().filter(|(_, ready)| **ready == wanted);
            let found: Vec<_> = found.map(|(key, _)| plain(self.addresses[key].clone())).collect();
            (!found.is_empty()).then_some(found)
        };
        let subset = |(addresses, ports): (BTreeMap<AddressKey, bool>, Vec<PortKey>)| {
            let ports: Vec<_> = ports.into_iter().flatten().map(port).collect();
            EndpointSubset {
                addresses: list(&addresses, true),
                not_ready_addresses: list(&addresses, false),
                ports: (!ports.is_empty()).then_some(ports),
            }
        };
        by_addresses.into_iter().map(subset).collect()
    }
}

/// Without what must not count as a difference.
fn plain(mut address: EndpointAddress) -> EndpointAddress {
    if let Some(target) = &mut address.target_ref {
        target.resource_version = None;
    }
    address
}

fn port_key(port: &EndpointPort) -> (Option<String>, i32, String, Option<String>) {
    let name = port.name.clone().filter(|n| !n.is_empty());
    (name, port.port, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), port.app_protocol.clone())
}

fn port((name, number, protocol, app_protocol): (Option<String>, i32, String, Option<String>)) -> EndpointPort {
    EndpointPort { name, port: number, protocol: Some(protocol), app_protocol }
}

/// The pod's address in the Service's first family.
fn address(service: &Service, pod: &Pod) -> Option<String> {
    let pod_family = || {
        let first = pod.status.as_ref()?.pod_ip.as_deref()?;
        Some(if first.contains(':') { Family::V6 } else { Family::V4 })
    };
    let family = match backends::families(service)[..] {
        // A headless Service that names no family speaks its pods'.
        [Family::V4, Family::V6] if service.spec.as_ref().is_some_and(|s| s.ip_families.is_none()) => pod_family()?,
        [first, ..] => first,
        [] => return None,
    };
    backends::addresses_of(pod, family).next()
}

fn size(subset: &EndpointSubset) -> usize {
    subset.addresses.iter().flatten().count() + subset.not_ready_addresses.iter().flatten().count()
}

/// At most [`MAX_ADDRESSES`]: each subset keeps its share; not ready ones go first.
fn truncate(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|s| count(&s.addresses)).sum();
    let waiting: usize = subsets.iter().map(|s| count(&s.not_ready_addresses)).sum();
    if ready + waiting <= MAX_ADDRESSES {
        return (subsets, false);
    }
    let cut_ready = ready > MAX_ADDRESSES;
    let (room, total) = if cut_ready { (MAX_ADDRESSES, ready) } else { (MAX_ADDRESSES - ready, waiting) };
    let mut left = room;
    for subset in &mut subsets {
        if cut_ready {
            subset.not_ready_addresses = None;
        }
        let list = if cut_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (count(list) * room).div_ceil(total).min(left);
        if let Some(addresses) = list {
            addresses.truncate(share);
            left -= addresses.len();
        }
        *list = list.take().filter(|l| !l.is_empty());
    }
    (subsets, true)
}
