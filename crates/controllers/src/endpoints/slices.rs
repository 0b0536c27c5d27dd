//! EndpointSlices: per address family and set of ports, the pods a Service leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_api::typed::kinds::{EndpointSlice, Node, Pod, Service};
use orlop_client::cache::{Delta, Index};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, Step, View, Write};

use super::backends::{self, Family, HEADLESS, TRIGGER_TIME};
use super::packing::{self, Draft, EndpointKey};
use crate::common::owners::controller_reference;
use crate::common::pods;

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Longest DNS subdomain.
const MAX_NAME_BYTES: usize = 253;

const BY_SERVICE: Index<EndpointSlice> = Index {
    name: "service",
    values: |slice| service_of(slice).map(|key| key.as_str().to_owned()).into_iter().collect(),
};

pub fn controller() -> Controller {
    let sources = vec![
        Source::subject::<Service>(),
        Source::indexed::<Pod>(vec![pods::BY_NODE], backends::wake_services_of_pod),
        Source::indexed::<EndpointSlice>(vec![BY_SERVICE], |delta, _, wake| {
            delta.sides().filter_map(|slice| service_of(slice)).for_each(wake);
        }),
        Source::of::<Node>(wake_services_on_node),
    ];
    let mut grants = vec![
        Grant::new("", &["nodes", "pods", "services"], &["get", "list", "watch"]),
        Grant::new("", &["services/finalizers"], &["update"]),
        Grant::new("discovery.k8s.io", &["endpointslices"], &["create", "delete", "get", "list", "update", "watch"]),
    ];
    grants.extend(Grant::EVENTS);
    let mut controller = Controller::new("endpointslice-controller", "endpoint_slice", sources, grants, decide);
    controller.event_source = "endpoint-slice-controller";
    controller
}

/// The Service that a slice of this controller belongs to.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    labels.get(SERVICE_NAME).filter(|name| ours && !name.is_empty()).map(|name| Key::new(slice.namespace(), name))
}

/// A node that comes (or changes its zone) matters to the Services of its pods.
fn wake_services_on_node(delta: &Delta<Node>, view: &View, wake: &mut dyn FnMut(Key)) {
    let zones: Vec<_> = delta.sides().map(|node| zone(node)).collect();
    if delta.old.is_some() && delta.new.is_some() && zones[0] == zones[1] {
        return;
    }
    for pod in pods::on_node(view, delta.object().name()) {
        backends::wake_services_of_pod(&Delta { old: None, new: Some(pod.clone()) }, view, wake);
    }
}

fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE).filter(|zone| !zone.is_empty())
}

fn decide(key: &Key, view: &View, _now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(service) = view.subject::<Service>(key) else { return plan };
    let Some(selector) = backends::selector(service) else { return plan };
    let pods: Vec<&Arc<Pod>> =
        backends::selected(service, &selector, view).filter(|pod| backends::counts(pod, true)).collect();
    // Slices on their way out are no longer this controller's.
    let existing: Vec<&Arc<EndpointSlice>> = view
        .of::<EndpointSlice>()
        .indexed(BY_SERVICE.name, key.as_str())
        .filter(|slice| slice.metadata.deletion_timestamp.is_none())
        .collect();
    let families = backends::families(service);
    let mut changes = Changes::default();
    for family in &families {
        let mine = existing.iter().copied().filter(|slice| slice.address_type == family.name());
        reconcile(service, *family, &pods, mine.collect(), view, &mut changes);
    }
    let foreign = existing.iter().filter(|s| families.iter().all(|family| s.address_type != family.name()));
    changes.delete.extend(foreign.map(|slice| (**slice).clone()));
    let first = existing.is_empty().then(|| service.metadata.creation_timestamp.as_ref().map(|t| t.0)).flatten();
    changes.write(service, first, &mut plan);
    plan
}

/// What is to become of a Service's slices.
#[derive(Default)]
struct Changes {
    create: Vec<Draft>,
    update: Vec<Draft>,
    delete: Vec<Arc<EndpointSlice>>,
    /// When the earliest of the changes happened that these slices now tell of.
    triggered: Option<Timestamp>,
}

/// All pods of one set of port numbers: named ports may differ from pod to pod.
#[derive(Default)]
struct Wanted {
    ports: Vec<EndpointPort>,
    endpoints: BTreeMap<EndpointKey, Endpoint>,
    changed_at: BTreeMap<EndpointKey, Timestamp>,
}

fn reconcile(
    service: &Service,
    family: Family,
    pods: &[&Arc<Pod>],
    existing: Vec<&Arc<EndpointSlice>>,
    view: &View,
    changes: &mut Changes,
) {
    let count = existing.len();
    let (mut by_ports, mut delete) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    for slice in existing {
        if is_owned_by(slice, service) {
            by_ports.entry(ports_key(slice.ports.as_deref().unwrap_or_default())).or_default().push(slice.clone());
        } else {
            delete.push(slice.clone());
        }
    }
    let (mut create, mut update) = (Vec::new(), Vec::new());
    for (ports, wanted) in wanted(service, family, pods, view) {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        let labels = |slice: &EndpointSlice| (!has_labels(slice, service)).then(|| labels(service));
        let fresh = || fresh(service, family, wanted.ports.clone());
        let packed = packing::pack(slices, wanted.endpoints, labels, fresh);
        let times = packed.changed.iter().filter_map(|key| wanted.changed_at.get(key)).copied();
        changes.triggered = times.chain(changes.triggered).min();
        create.extend(packed.create);
        update.extend(packed.update);
        delete.extend(packed.delete);
    }
    delete.extend(by_ports.into_values().flatten());
    if create.is_empty() && delete.len() == count {
        keep_placeholder(service, family, &mut create, &mut delete);
    }
    // A slice that would go becomes one that would come.
    while let Some(at) = delete.iter().position(|slice| is_owned_by(slice, service)).filter(|_| !create.is_empty())
        && let Some(mut draft) = create.pop()
    {
        draft.base = Some(delete.remove(at));
        update.push(draft);
    }
    changes.create.extend(create);
    changes.update.extend(update);
    changes.delete.extend(delete);
}

/// A Service without any endpoint has one empty slice, which tells that it is known to have none.
fn keep_placeholder(service: &Service, family: Family, create: &mut Vec<Draft>, delete: &mut Vec<Arc<EndpointSlice>>) {
    let is_placeholder = |slice: &EndpointSlice| {
        slice.ports.as_ref().is_none_or(Vec::is_empty)
            && slice.endpoints.as_ref().is_none_or(Vec::is_empty)
            && has_labels(slice, service)
            && is_owned_by(slice, service)
    };
    match &delete[..] {
        [only] if is_placeholder(only) => delete.clear(),
        _ => create.push(fresh(service, family, Vec::new())),
    }
}

/// The endpoints the Service should have, by their ports.
fn wanted(service: &Service, family: Family, pods: &[&Arc<Pod>], view: &View) -> BTreeMap<PortsKey, Wanted> {
    let mut all = BTreeMap::<PortsKey, Wanted>::new();
    for pod in pods {
        let ports = pod_ports(service, pod);
        let wanted = all.entry(ports_key(&ports)).or_insert_with(|| Wanted { ports, ..Wanted::default() });
        let node = pods::node_name(pod).and_then(|name| view.of::<Node>().get("", name));
        // A pod on a node that is not there leads nowhere; when the node comes it will be looked at again.
        if node.is_none() && !backends::publishes_not_ready(service) {
            continue;
        }
        let addresses: Vec<String> = backends::addresses_of(pod, family).collect();
        if addresses.is_empty() {
            continue;
        }
        let endpoint = endpoint(service, pod, node.map(|n| &**n), addresses);
        let key = packing::key_of(&endpoint);
        if let Some(at) = backends::changed_at(pod) {
            wanted.changed_at.insert(key.clone(), at);
        }
        wanted.endpoints.insert(key, endpoint);
    }
    all
}

fn endpoint(service: &Service, pod: &Pod, node: Option<&Node>, addresses: Vec<String>) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    // A terminating pod is never "ready", so that clients that know no more stay away from it.
    let ready = backends::publishes_not_ready(service) || (serving && !terminating);
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        target_ref: Some(backends::reference(pod)),
        node_name: pods::node_name(pod).map(str::to_owned),
        zone: node.and_then(zone).cloned(),
        hostname: backends::hostname(pod, service),
        ..Endpoint::default()
    }
}

fn pod_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let found = backends::ports(service).iter().filter_map(|port| {
        Some(EndpointPort {
            port: Some(backends::find_port(pod, port)?),
            name: Some(port.name.clone().unwrap_or_default()),
            protocol: Some(backends::protocol(port).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    found.collect()
}

/// Ports in an order of their own, to compare sets of them.
pub type PortsKey = Vec<(String, i32, String, Option<String>)>;

pub fn ports_key(ports: &[EndpointPort]) -> PortsKey {
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    let one = |p: &EndpointPort| (text(&p.name), p.port.unwrap_or(0), text(&p.protocol), p.app_protocol.clone());
    let mut key: PortsKey = ports.iter().map(one).collect();
    key.sort();
    key
}

fn is_owned_by(slice: &EndpointSlice, service: &Service) -> bool {
    let owners = slice.metadata.owner_references.iter().flatten();
    owners.filter(|o| o.kind == "Service" && o.api_version == "v1").any(|o| o.uid == service.uid())
}

fn is_reserved(label: &str) -> bool {
    matches!(label, SERVICE_NAME | MANAGED_BY | HEADLESS)
}

/// The Service's labels, and those that say whose the slice is.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| !is_reserved(key));
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// Whether the slice has the Service's labels; the reserved ones are not looked at.
fn has_labels(slice: &EndpointSlice, service: &Service) -> bool {
    let own = |labels: Option<&BTreeMap<String, String>>| {
        let all = labels.into_iter().flatten();
        all.filter(|(key, _)| !is_reserved(key)).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
    };
    own(slice.metadata.labels.as_ref()) == own(service.metadata.labels.as_ref())
}

fn fresh(service: &Service, family: Family, ports: Vec<EndpointPort>) -> Draft {
    // The generated name needs room for a dash and five characters.
    let dash = if service.name().len() + 6 <= MAX_NAME_BYTES { "-" } else { "" };
    let slice = EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}{dash}", service.name())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.name().to_owned(),
        ports: Some(ports),
        endpoints: None,
    };
    Draft { base: None, slice, endpoints: Vec::new() }
}

impl Changes {
    fn write(self, service: &Service, first: Option<Timestamp>, plan: &mut Plan) {
        let time = first.or(self.triggered).map(|at| at.to_string());
        let finish = |draft: Draft| {
            let mut slice = draft.into_slice();
            let annotations = slice.metadata.annotations.get_or_insert_default();
            match &time {
                Some(time) => annotations.insert(TRIGGER_TIME.to_owned(), time.clone()),
                None => annotations.remove(TRIGGER_TIME),
            };
            slice
        };
        let failed = |what: String| {
            let whose = format!("{}/{}", service.namespace(), service.name());
            let text = format!(
                "Error updating Endpoint Slices for Service {whose}: failed to {what} for Service {whose}: {{error}}"
            );
            Note::warning(service, "FailedToUpdateEndpointSlices", text)
        };
        // Slices made for a Service that goes away would be garbage at once.
        let stays = service.metadata.deletion_timestamp.is_none();
        let create = self
            .create
            .into_iter()
            .filter(|_| stays)
            .map(|draft| Write::create(&finish(draft)).failed(failed("create EndpointSlice".to_owned())));
        let create: Vec<Write> = create.collect();
        let update = self.update.into_iter().map(|draft| {
            let slice = finish(draft);
            Write::update(&slice).failed(failed(format!("update {} EndpointSlice", slice.name())))
        });
        let update: Vec<Write> = update.collect();
        let delete = self
            .delete
            .iter()
            .map(|slice| Write::delete(&**slice).failed(failed(format!("delete {} EndpointSlice", slice.name()))));
        let steps = [create, update, delete.collect()];
        plan.steps.extend(steps.into_iter().filter(|writes| !writes.is_empty()).map(Step::Together));
    }
}
