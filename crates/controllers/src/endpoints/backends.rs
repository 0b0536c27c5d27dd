//! The pods behind a Service, and what clients may reach of them.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::{ContainerPort, ObjectReference, ServicePort, ServiceSpec};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orlop_api::typed::kinds::{Pod, Service};
use orlop_client::cache::Delta;
use orlop_client::engine::{Key, View};

use crate::common::pods;

pub const HEADLESS: &str = "service.kubernetes.io/headless";
/// When the earliest change happened that an object tells of; programmes measure latency by it.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// As EndpointSlices and Services name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn of(address: &str) -> Option<Self> {
        Some(match address.parse().ok()? {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        })
    }
}

fn spec(service: &Service) -> Option<&ServiceSpec> {
    service.spec.as_ref()
}

/// What selects the Service's pods; `None` when others provide its endpoints.
pub fn selector(service: &Service) -> Option<Selector> {
    let spec = spec(service)?;
    let labels = spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then(|| Selector::from_labels(labels))
}

pub fn selected<'a>(service: &Service, selector: &'a Selector, view: &'a View) -> impl Iterator<Item = &'a Arc<Pod>> {
    let pods = view.of::<Pod>().namespace(service.namespace());
    pods.filter(|pod| selector.matches_opt(pod.metadata.labels.as_ref()))
}

/// Services that select a changed pod, before and after, if the change matters to any.
pub fn wake_services_of_pod(delta: &Delta<Pod>, view: &View, wake: &mut dyn FnMut(Key)) {
    if let (Some(old), Some(new)) = (&delta.old, &delta.new)
        && same_to_clients(old, new)
    {
        return;
    }
    for service in view.of::<Service>().namespace(delta.object().namespace()) {
        let Some(selector) = selector(service) else { continue };
        if delta.sides().any(|pod| selector.matches_opt(pod.metadata.labels.as_ref())) {
            wake(Key::of(&**service));
        }
    }
}

fn same_to_clients(old: &Pod, new: &Pod) -> bool {
    let facts = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        (
            pod.metadata.labels.clone(),
            pod.metadata.deletion_timestamp.is_some(),
            pods::is_ready(pod),
            pods::is_finished(pod),
            addresses(pod).map(str::to_owned).collect::<Vec<_>>(),
            spec.and_then(|s| s.hostname.clone()),
            spec.and_then(|s| s.subdomain.clone()),
        )
    };
    facts(old) == facts(new)
}

fn addresses(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.status.iter().flat_map(|s| s.pod_ips.iter().flatten()).map(|ip| ip.ip.as_str())
}

/// Whether the pod may be behind a Service at all: it has not finished, and has an address.
pub fn counts(pod: &Pod, include_terminating: bool) -> bool {
    let has_address = pod.status.as_ref().is_some_and(|s| s.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty()))
        || addresses(pod).next().is_some();
    !pods::is_finished(pod) && has_address && (include_terminating || pod.metadata.deletion_timestamp.is_none())
}

/// The pod's addresses of one family, in their usual form.
pub fn addresses_of(pod: &Pod, family: Family) -> impl Iterator<Item = String> {
    let usual = move |text: &str| {
        let address: IpAddr = text.parse().ok()?;
        (Family::of(text) == Some(family)).then(|| address.to_string())
    };
    addresses(pod).filter_map(usual)
}

/// The families the Service speaks, preferred first; both for a headless one that does not say.
pub fn families(service: &Service) -> Vec<Family> {
    let Some(spec) = spec(service) else { return Vec::new() };
    let named = spec.ip_families.iter().flatten().filter_map(|name| match name.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    });
    let named: Vec<Family> = named.collect();
    match (named.is_empty(), spec.cluster_ip.as_deref().and_then(Family::of)) {
        (false, _) => named,
        (true, Some(family)) => vec![family],
        (true, None) => vec![Family::V4, Family::V6],
    }
}

pub fn ports(service: &Service) -> &[ServicePort] {
    spec(service).and_then(|s| s.ports.as_deref()).unwrap_or_default()
}

pub fn publishes_not_ready(service: &Service) -> bool {
    spec(service).is_some_and(|s| s.publish_not_ready_addresses == Some(true))
}

/// Has no address of its own, or not yet.
pub fn is_headless(service: &Service) -> bool {
    spec(service).and_then(|s| s.cluster_ip.as_deref()).is_none_or(|ip| ip.is_empty() || ip == "None")
}

/// Asks for no address at all.
pub fn is_explicitly_headless(service: &Service) -> bool {
    spec(service).is_some_and(|s| s.cluster_ip.as_deref() == Some("None"))
}

pub fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The number a Service port has in this pod; a name is looked up in its containers.
pub fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let staying = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let is_it = |candidate: &&ContainerPort| {
        candidate.name.as_ref() == Some(name) && candidate.protocol.as_deref().unwrap_or("TCP") == protocol(port)
    };
    let mut offered = spec.containers.iter().chain(staying).flat_map(|c| c.ports.iter().flatten());
    offered.find(is_it).map(|p| p.container_port)
}

/// The host name under which DNS knows the pod within the Service.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let subdomain = spec.subdomain.as_deref().unwrap_or_default();
    spec.hostname.clone().filter(|h| !h.is_empty() && subdomain == service.name())
}

pub fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// When the pod last became ready or unready.
pub fn changed_at(pod: &Pod) -> Option<Timestamp> {
    pods::condition(pod.status.as_ref(), "Ready")?.last_transition_time.as_ref().map(|t| t.0)
}
