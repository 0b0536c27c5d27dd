//! What is wrong about one address, and what makes it right
//! (`pkg/registry/core/service/ipallocator/controller/repairip.go`).

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use orlop_api::typed::k8s_openapi::api::core::v1::ObjectReference;
use orlop_api::{Value, meta};

use super::{FAMILY, Owner, is_ours, names_service, owner, parent};
use crate::services::Family;

/// How long a request may take: until then the Service of an IPAddress may be about to come. Ours come after
/// theirs; upstream's come before.
pub const REQUEST: SignedDuration = SignedDuration::from_secs(60);
/// Until a Service that was there already has taken its address back.
const REVERT: SignedDuration = SignedDuration::from_secs(5);

/// One address, everything that has to do with it, and when.
pub struct Facts {
    pub ip: IpAddr,
    /// The Services that have it.
    pub holders: Vec<Value>,
    pub address: Option<Value>,
    /// The Service that the IPAddress names.
    pub parent: Option<Value>,
    pub in_range: bool,
    /// The Service got it just now, so its IPAddress is yet to come.
    pub fresh: bool,
    pub now: Timestamp,
}

/// In the order in which it is done.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub notes: Vec<Note>,
    pub remove: bool,
    pub make_for: Option<Owner>,
    pub look_at: Option<Timestamp>,
}

/// A warning to record.
#[derive(Debug, PartialEq)]
pub struct Note {
    pub about: ObjectReference,
    pub reason: &'static str,
    pub action: &'static str,
    pub message: String,
}

impl Plan {
    fn tell(&mut self, about: &Value, reason: &'static str, message: String) {
        let action = if about["kind"] == "Service" { "ClusterIPAllocation" } else { "IPAddressAllocation" };
        self.notes.push(Note { about: reference(about), reason, action, message });
    }
}

pub fn decide(facts: &Facts) -> Plan {
    let Some(first) = facts.holders.first() else { return unheld(facts) };
    let mut plan = Plan::default();
    let (ip, family) = (facts.ip, Family::of(facts.ip).name());
    if !facts.in_range {
        let message =
            format!("Cluster IP [{family}]: {ip} is not within any configured Service CIDR; please recreate service");
        facts.holders.iter().for_each(|service| plan.tell(service, "ClusterIPOutOfRange", message.clone()));
        return plan;
    }
    let Some(address) = &facts.address else {
        if !facts.fresh {
            let message = format!("Cluster IP [{family}]: {ip} is not allocated; repairing");
            plan.tell(first, "ClusterIPNotAllocated", message);
        }
        return Plan { make_for: Some(owner(first)), ..plan };
    };
    let Some(named) = facts.holders.iter().find(|service| names(address, service)) else {
        if is_ours(address) && facts.parent.is_some() {
            // It goes, and comes back for those who have the address.
            return unheld(facts);
        }
        let (namespace, name) = owner(first);
        let message =
            format!("the ClusterIP [{family}]: {ip} for Service {namespace}/{name} has a wrong reference; repairing");
        plan.tell(first, "ClusterIPNotAllocated", message);
        return Plan { remove: true, make_for: Some(owner(first)), ..plan };
    };
    for other in facts.holders.iter().filter(|other| owner(other) != owner(named)) {
        let message = format!("Cluster IP [{family}]:{ip} was assigned to multiple services; please recreate service");
        plan.tell(other, "ClusterIPAlreadyAllocated", message);
    }
    if is_labelled(address, facts.ip) { plan } else { Plan { remove: true, make_for: Some(owner(named)), ..plan } }
}

/// An IPAddress of ours that no Service has.
fn unheld(facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let Some(address) = facts.address.as_ref().filter(|address| is_ours(address)) else { return plan };
    let ip = facts.ip;
    let ((namespace, name), made) = (parent(address), created(address));
    let (since, reason, message) = match &facts.parent {
        _ if !names_service(address) => {
            let parent = shown(&address["spec"]["parentRef"]);
            let what = format!(
                "IPAddress {ip} appears to have been modified, not referencing a Service {parent}: cleaning up"
            );
            (SignedDuration::ZERO, "IPAddressNotAllocated", what)
        }
        None => {
            let what = format!("IPAddress: {ip} for Service {namespace}/{name} appears to have leaked: cleaning up");
            (REQUEST, "IPAddressNotAllocated", what)
        }
        Some(service) => {
            let what = format!("IPAddress: {ip} for Service {namespace}/{name} has a wrong reference; cleaning up");
            let grace = match () {
                () if service["spec"]["type"] == "ExternalName" => REQUEST,
                () if made > created(service) => REVERT,
                () => SignedDuration::ZERO,
            };
            (grace, "IPAddressWrongReference", what)
        }
    };
    let due = made.saturating_add(since).unwrap_or(made);
    if facts.now < due {
        return Plan { look_at: Some(due), ..plan };
    }
    plan.tell(address, reason, message);
    Plan { remove: true, ..plan }
}

/// Whether the IPAddress is as ours are for this Service.
pub fn is_right(address: &Value, ip: IpAddr, of: &Owner) -> bool {
    names_service(address) && parent(address) == *of && is_labelled(address, ip)
}

fn is_labelled(address: &Value, ip: IpAddr) -> bool {
    is_ours(address) && address["metadata"]["labels"][FAMILY] == Family::of(ip).name()
}

fn names(address: &Value, service: &Value) -> bool {
    names_service(address) && parent(address) == owner(service)
}

pub fn created(object: &Value) -> Timestamp {
    meta::get(object, "creationTimestamp").parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// As Go shows a reference.
fn shown(parent: &Value) -> String {
    let text = |field: &str| parent[field].as_str().unwrap_or_default();
    format!(
        "&ParentReference{{Group:{},Resource:{},Namespace:{},Name:{},}}",
        text("group"),
        text("resource"),
        text("namespace"),
        text("name")
    )
}

fn reference(object: &Value) -> ObjectReference {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ObjectReference {
        api_version: object["apiVersion"].as_str().and_then(some),
        kind: object["kind"].as_str().and_then(some),
        namespace: some(meta::namespace(object)),
        name: some(meta::name(object)),
        uid: some(meta::uid(object)),
        resource_version: some(meta::resource_version(object)),
        field_path: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str) -> Value {
        json!({"kind": "Service", "apiVersion": "v1", "spec": {"clusterIPs": ["10.0.0.9"]},
               "metadata": {"name": name, "namespace": "d", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    }

    fn address(parent: &Value) -> Value {
        let labels = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                            "ipaddress.kubernetes.io/ip-family": "IPv4"});
        json!({"kind": "IPAddress", "apiVersion": "networking.k8s.io/v1", "spec": {"parentRef": parent},
               "metadata": {"name": "10.0.0.9", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}})
    }

    fn of(name: &str) -> Value {
        address(&json!({"resource": "services", "namespace": "d", "name": name}))
    }

    fn facts(holders: &[&Value], address: Option<Value>, parent: Option<Value>) -> Facts {
        let (ip, now) = ("10.0.0.9".parse().unwrap(), "2026-01-01T01:00:00Z".parse().unwrap());
        let holders = holders.iter().map(|holder| (*holder).clone()).collect();
        Facts { ip, holders, address, parent, in_range: true, fresh: false, now }
    }

    /// About whom, what is told, whether it goes, for whom it comes back.
    fn lines(facts: &Facts) -> Vec<String> {
        let plan = decide(facts);
        let notes = plan.notes.iter().map(|note| {
            format!("{} {}: {}", note.about.name.as_deref().unwrap_or_default(), note.reason, note.message)
        });
        let removed = plan.remove.then(|| "remove".to_owned());
        let made = plan.make_for.iter().map(|(namespace, name)| format!("make {namespace}/{name}"));
        notes.chain(removed).chain(made).chain(plan.look_at.iter().map(|at| format!("at {at}"))).collect()
    }

    #[test]
    fn an_address_and_its_service_are_left_alone() {
        let web = service("web");
        assert_eq!(decide(&facts(&[&web], Some(of("web")), Some(web.clone()))), Plan::default());
        let fresh = Facts { fresh: true, ..facts(&[&web], None, None) };
        assert_eq!(lines(&fresh), ["make d/web"]);
        let theirs = address(&json!({"group": "example.com", "resource": "balancers", "name": "b"}));
        let theirs = json!({"metadata": {"name": "10.0.0.9"}, "spec": theirs["spec"]});
        assert_eq!(decide(&facts(&[], Some(theirs), None)), Plan::default());
    }

    #[test]
    fn what_a_service_has_is_repaired() {
        let web = service("web");
        let missing = "web ClusterIPNotAllocated: Cluster IP [IPv4]: 10.0.0.9 is not allocated; repairing";
        assert_eq!(lines(&facts(&[&web], None, None)), [missing, "make d/web"]);
        let wrong = "web ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.0.0.9 for Service d/web has a wrong reference; \
                     repairing";
        let balancer = address(&json!({"group": "example.com", "resource": "balancers", "name": "b"}));
        for other in [balancer, of("gone")] {
            assert_eq!(lines(&facts(&[&web], Some(other), None)), [wrong, "remove", "make d/web"]);
        }
        let mut unlabelled = of("web");
        unlabelled["metadata"]["labels"] = json!({});
        assert_eq!(lines(&facts(&[&web], Some(unlabelled), Some(web.clone()))), ["remove", "make d/web"]);
        let elsewhere = Facts { in_range: false, ..facts(&[&web], None, None) };
        let message = "web ClusterIPOutOfRange: Cluster IP [IPv4]: 10.0.0.9 is not within any configured Service CIDR; \
                       please recreate service";
        assert_eq!(lines(&elsewhere), [message]);
    }

    #[test]
    fn of_two_services_the_named_one_has_it() {
        let (a, b) = (service("a"), service("b"));
        let twice = "a ClusterIPAlreadyAllocated: Cluster IP [IPv4]:10.0.0.9 was assigned to multiple services; please \
                     recreate service";
        assert_eq!(lines(&facts(&[&a, &b], Some(of("b")), Some(b.clone()))), [twice]);
        let wrong =
            "10.0.0.9 IPAddressWrongReference: IPAddress: 10.0.0.9 for Service d/b has a wrong reference; cleaning up";
        assert_eq!(lines(&facts(&[&a], Some(of("b")), Some(b))), [wrong, "remove"]);
    }

    #[test]
    fn what_no_service_has_goes_after_a_while() {
        let leaked = "10.0.0.9 IPAddressNotAllocated: IPAddress: 10.0.0.9 for Service d/web appears to have leaked: \
                      cleaning up";
        let mut world = facts(&[], Some(of("web")), None);
        assert_eq!(lines(&world), [leaked, "remove"]);
        world.now = "2026-01-01T00:00:59Z".parse().unwrap();
        assert_eq!(lines(&world), ["at 2026-01-01T00:01:00Z"]);
        let mut external = service("web");
        external["spec"] = json!({"type": "ExternalName"});
        world.parent = Some(external);
        assert_eq!(lines(&world), ["at 2026-01-01T00:01:00Z"]);
        let mut older = service("web");
        older["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z".into();
        world.parent = Some(older);
        assert_eq!(lines(&world).len(), 2, "long enough ago");
        world.now = "2026-01-01T00:00:04Z".parse().unwrap();
        assert_eq!(lines(&world), ["at 2026-01-01T00:00:05Z"]);
        let balancer = address(&json!({"group": "example.com", "resource": "balancers", "name": "b"}));
        let modified = "10.0.0.9 IPAddressNotAllocated: IPAddress 10.0.0.9 appears to have been modified, not \
                        referencing a Service &ParentReference{Group:example.com,Resource:balancers,Namespace:,Name:b,}: \
                        cleaning up";
        assert_eq!(lines(&facts(&[], Some(balancer), None)), [modified, "remove"]);
    }
}
