//! EndpointSlices for Endpoints that somebody keeps by hand, of Services without a selector
//! (`pkg/controller/endpointslicemirroring`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort as CorePort, EndpointSubset};
use orlop_api::typed::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{EndpointSlice, Endpoints, Service};
use orlop_client::cache::Index;
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, View, Write};

use super::backends::TRIGGER_TIME;
use super::slices::{MANAGED_BY, PortsKey, SERVICE_NAME, ports_key};
use crate::common::owners::controller_reference;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// On Endpoints that were used for electing a leader.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Addresses mirrored per subset, at most (`--mirroring-max-endpoints-per-subset`).
const MAX_PER_SUBSET: usize = 1000;

const BY_SERVICE: Index<EndpointSlice> = Index {
    name: "mirrored service",
    values: |slice| mirrored(slice).map(|key| key.as_str().to_owned()).into_iter().collect(),
};

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<Endpoints>(),
        Source::subject::<Service>(),
        Source::indexed::<EndpointSlice>(vec![BY_SERVICE], |delta, _, wake| {
            delta.sides().filter_map(|slice| mirrored(slice)).for_each(wake);
        }),
    ];
    let mut grants = vec![
        Grant::new("", &["services", "endpoints"], &["get", "list", "watch"]),
        Grant::new("", &["services/finalizers"], &["update"]),
        Grant::new("", &["endpoints/finalizers"], &["update"]),
        Grant::new("discovery.k8s.io", &["endpointslices"], &["get", "list", "watch", "create", "update", "delete"]),
    ];
    grants.extend(Grant::EVENTS);
    let name = "endpointslicemirroring-controller";
    let mut controller = Controller::new(name, "endpoint_slice_mirroring", sources, grants, decide);
    controller.event_source = "endpoint-slice-mirroring-controller";
    controller
}

/// The Service that a slice of this controller belongs to.
fn mirrored(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    labels.get(SERVICE_NAME).filter(|_| ours).map(|name| Key::new(slice.namespace(), name))
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let existing = view.of::<EndpointSlice>().indexed(BY_SERVICE.name, key.as_str());
    let existing: Vec<&Arc<EndpointSlice>> = existing.filter(|s| s.metadata.deletion_timestamp.is_none()).collect();
    let selects = |service: &Service| service.spec.as_ref().is_some_and(|s| s.selector.is_some());
    let is_meant = view.subject::<Service>(key).is_some_and(|service| !selects(service));
    let Some(endpoints) = view.subject::<Endpoints>(key).filter(|e| is_meant && is_mirrored(e)) else {
        existing.into_iter().for_each(|slice| plan.write(Write::delete(&**slice)));
        return plan;
    };
    let wanted = Wanted::of(endpoints, &mut plan);
    reconcile(endpoints, wanted, existing, &mut plan);
    plan
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let has = |map: Option<&BTreeMap<String, String>>, key: &str, value: Option<&str>| {
        map.and_then(|map| map.get(key)).is_some_and(|found| value.is_none_or(|value| found == value))
    };
    !has(endpoints.metadata.labels.as_ref(), SKIP, Some("true"))
        && !has(endpoints.metadata.annotations.as_ref(), LEADER, None)
}

/// Endpoints by address family and ports, one slice each.
#[derive(Default)]
struct Wanted(BTreeMap<(&'static str, PortsKey), (Vec<EndpointPort>, Vec<Endpoint>)>);

impl Wanted {
    fn of(endpoints: &Endpoints, plan: &mut Plan) -> Self {
        let mut wanted = Self::default();
        let (mut invalid, mut skipped) = (0, 0);
        for subset in endpoints.subsets.iter().flatten() {
            let (mut added, mut all) = (0, 0);
            for (address, ready) in addresses(subset) {
                all += 1;
                if added < MAX_PER_SUBSET {
                    let is_valid = wanted.add(subset, address, ready);
                    added += usize::from(is_valid);
                    invalid += usize::from(!is_valid);
                }
            }
            skipped += all - added;
        }
        if invalid > 0 {
            let text = format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
            plan.note(Note::warning(endpoints, "InvalidIPAddress", text));
        }
        if skipped > invalid {
            let text = format!(
                "A max of {MAX_PER_SUBSET} addresses can be mirrored to EndpointSlices per Endpoints subset. \
                 {skipped} addresses were skipped"
            );
            plan.note(Note::warning(endpoints, "TooManyAddressesToMirror", text));
        }
        wanted
    }

    fn add(&mut self, subset: &EndpointSubset, address: &EndpointAddress, ready: bool) -> bool {
        let family = match address.ip.parse() {
            Ok(IpAddr::V4(_)) => "IPv4",
            Ok(IpAddr::V6(_)) => "IPv6",
            Err(_) => return false,
        };
        let ports: Vec<EndpointPort> = subset.ports.iter().flatten().map(port).collect();
        let endpoint = Endpoint {
            addresses: vec![address.ip.clone()],
            conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
            hostname: address.hostname.clone().filter(|name| !name.is_empty()),
            node_name: address.node_name.clone(),
            target_ref: address.target_ref.clone(),
            ..Endpoint::default()
        };
        let (_, all) = self.0.entry((family, ports_key(&ports))).or_insert_with(|| (ports, Vec::new()));
        if !all.iter().any(|known| known.addresses == endpoint.addresses && known.target_ref == endpoint.target_ref) {
            all.push(endpoint);
        }
        true
    }
}

fn addresses(subset: &EndpointSubset) -> impl Iterator<Item = (&EndpointAddress, bool)> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    ready.chain(subset.not_ready_addresses.iter().flatten().map(|address| (address, false)))
}

fn port(port: &CorePort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.clone().or_else(|| Some("TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    }
}

/// Changes the slices that are there; only then makes new ones or removes old ones.
fn reconcile(endpoints: &Endpoints, wanted: Wanted, existing: Vec<&Arc<EndpointSlice>>, plan: &mut Plan) {
    let mut spare: Vec<&Arc<EndpointSlice>> = Vec::new();
    let mut by_key = BTreeMap::<(String, PortsKey), Vec<&Arc<EndpointSlice>>>::new();
    for slice in existing {
        let key = (slice.address_type.clone(), ports_key(slice.ports.as_deref().unwrap_or_default()));
        by_key.entry(key).or_default().push(slice);
    }
    let mut create = Vec::new();
    for ((family, key), (ports, all)) in wanted.0 {
        let mut slices = by_key.remove(&(family.to_owned(), key)).unwrap_or_default().into_iter();
        let fresh = fresh(endpoints, family, ports, all);
        match slices.next() {
            Some(known) => update(known, fresh, plan),
            None => create.push(fresh),
        }
        spare.extend(slices);
    }
    spare.extend(by_key.into_values().flatten());
    for fresh in create.into_iter().filter(|_| endpoints.metadata.deletion_timestamp.is_none()) {
        // An address family is for life; the rest of a slice may be reused.
        match spare.iter().position(|slice| slice.address_type == fresh.address_type) {
            Some(at) => update(spare.remove(at), fresh, plan),
            None => plan.write(Write::create(&fresh)),
        }
    }
    spare.into_iter().for_each(|slice| plan.write(Write::delete(&**slice)));
}

fn fresh(endpoints: &Endpoints, family: &str, ports: Vec<EndpointPort>, all: Vec<Endpoint>) -> EndpointSlice {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key != TRIGGER_TIME && key != LAST_APPLIED);
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-", endpoints.name())),
        namespace: endpoints.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![controller_reference(endpoints)]),
        ..ObjectMeta::default()
    };
    EndpointSlice { metadata, address_type: family.to_owned(), ports: Some(ports), endpoints: Some(all) }
}

fn update(known: &EndpointSlice, fresh: EndpointSlice, plan: &mut Plan) {
    let mut changed = known.clone();
    changed.metadata.labels = fresh.metadata.labels;
    changed.metadata.annotations = fresh.metadata.annotations;
    changed.metadata.owner_references = fresh.metadata.owner_references;
    changed.ports = fresh.ports;
    changed.endpoints = fresh.endpoints;
    if changed != *known {
        plan.write(Write::update(&changed));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::common::fixture::{body, decide, events};

    /// A Service without a selector, with Endpoints made by hand and their mirror.
    pub const CONVERGED: &str = "
kind: Service
metadata: {name: db}
spec: {ports: [{port: 5432}]}
---
kind: Endpoints
metadata: {name: db, labels: {a: b}}
subsets: [{addresses: [{ip: 192.0.2.1}], notReadyAddresses: [{ip: 192.0.2.2}], ports: [{port: 5432, protocol: TCP}]}]
---
kind: EndpointSlice
metadata:
  name: db-1
  labels: {a: b, kubernetes.io/service-name: db, endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io}
  ownerReferences: [{apiVersion: v1, kind: Endpoints, name: db, uid: db, controller: true, blockOwnerDeletion: true}]
addressType: IPv4
ports: [{name: '', port: 5432, protocol: TCP}]
endpoints: [{addresses: [192.0.2.1], conditions: {ready: true}}, {addresses: [192.0.2.2], conditions: {ready: false}}]
";

    fn lines(yaml: &str) -> Vec<String> {
        decide(&controller(), "d/db", yaml).lines()
    }

    #[test]
    fn slices_follow_the_endpoints() {
        let parts: Vec<&str> = CONVERGED.split("---").collect();
        let plan = decide(&controller(), "d/db", &parts[..2].join("---"));
        assert_eq!(plan.lines(), ["create endpointslices d/db-*"]);
        let made = body(&plan, "create endpointslices d/db-*");
        assert_eq!(made["endpoints"][1]["conditions"], json!({"ready": false}));
        let moved = CONVERGED.replacen("192.0.2.1", "192.0.2.9", 1);
        assert_eq!(lines(&moved), ["update endpointslices d/db-1"]);
        let other_port = CONVERGED.replacen("port: 5432, protocol", "port: 5433, protocol", 1);
        assert_eq!(lines(&other_port), ["update endpointslices d/db-1"], "reused");
        let both = CONVERGED.replacen("{ip: 192.0.2.1}", "{ip: 192.0.2.1}, {ip: '2001:db8::1'}", 1);
        assert_eq!(lines(&both), ["create endpointslices d/db-*"]);
    }

    #[test]
    fn what_is_not_to_be_mirrored_is_not() {
        let gone = ["delete endpointslices d/db-1"];
        assert_eq!(lines(&CONVERGED.replace("spec: {ports", "spec: {selector: {a: b}, ports")), gone);
        assert_eq!(
            lines(&CONVERGED.replacen(
                "labels: {a: b}",
                "labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}",
                1
            )),
            gone
        );
        assert_eq!(
            lines(
                &CONVERGED
                    .split("---")
                    .enumerate()
                    .filter(|(i, _)| *i != 1)
                    .map(|(_, p)| p)
                    .collect::<Vec<_>>()
                    .join("---")
            ),
            gone
        );
    }

    #[test]
    fn addresses_that_are_none_are_told_of() {
        let plan = decide(&controller(), "d/db", &CONVERGED.replacen("{ip: 192.0.2.1}", "{ip: 192.0.2.1}, {ip: x}", 1));
        assert_eq!(
            events(&plan),
            ["Warning InvalidIPAddress: Skipped 1 invalid IP addresses when mirroring to EndpointSlices"]
        );
    }
}
