//! ServiceCIDRs: ready while they are there, and kept while Services have addresses that no other range holds
//! (`pkg/controller/servicecidrs`, KEP 1880).

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use orlop_api::cidr::Cidr;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{IPAddress, ServiceCIDR};
use orlop_client::engine::{Controller, Grant, Key, Note, Plan, Source, View, Write};
use serde_json::json;

use crate::common::seconds;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// Source of events, manager of the status.
const SOURCE: &str = "service-cidr-controller";
/// Until every server knows that it must not draw from the range any more.
const DELETION_GRACE: SignedDuration = SignedDuration::from_secs(10);

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// What the condition `Ready` says: status, reason, message.
type Readiness = (&'static str, &'static str, &'static str);

const READY: Readiness = ("True", "", "Kubernetes Service CIDR is ready");
const TERMINATING: Readiness = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
);

pub fn controller() -> Controller {
    let group = "networking.k8s.io";
    let mut grants = vec![
        Grant::new(group, &["servicecidrs"], &["get", "list", "watch", "patch", "update"]),
        Grant::new(group, &["servicecidrs/finalizers", "servicecidrs/status"], &["patch", "update"]),
        Grant::new(group, &["ipaddresses"], &["get", "list", "watch"]),
    ];
    grants.extend(Grant::EVENTS);
    let ranges = Source::of::<ServiceCIDR>(|delta, view, wake| {
        wake(Key::of(&**delta.object()));
        // It may take over what keeps another that is about to go.
        let own: Vec<Cidr> = delta.new.iter().flat_map(|range| cidrs(range)).collect();
        let overlaps = |range: &ServiceCIDR| cidrs(range).any(|cidr| own.iter().any(|own| own.overlaps(&cidr)));
        view.of::<ServiceCIDR>().iter().filter(|range| overlaps(range)).for_each(|range| wake(Key::of(&**range)));
    });
    let addresses = Source::of::<IPAddress>(|delta, view, wake| {
        let Some(ip) = allocated(delta.object()) else { return };
        let holds = |range: &ServiceCIDR| cidrs(range).any(|cidr| cidr.has_host(ip));
        view.of::<ServiceCIDR>().iter().filter(|range| holds(range)).for_each(|range| wake(Key::of(&**range)));
    });
    let sources = vec![ranges, addresses];
    let mut controller = Controller::new("service-cidrs-controller", "ipaddresses", sources, grants, decide);
    controller.event_source = SOURCE;
    controller
}

fn cidrs(range: &ServiceCIDR) -> impl Iterator<Item = Cidr> {
    let texts = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    texts.filter_map(|text| text.parse().ok())
}

/// The address, if it is a Service's.
fn allocated(address: &IPAddress) -> Option<IpAddr> {
    let labels = address.metadata.labels.as_ref()?;
    labels.get(MANAGED_BY).filter(|manager| *manager == ALLOCATOR)?;
    Typed::name(address).parse().ok()
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::none();
    let Some(range) = view.subject::<ServiceCIDR>(key) else { return plan };
    let is_protected = range.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let Some(deleted) = &range.metadata.deletion_timestamp else {
        if !is_protected {
            plan.write(Write::patch(&**range, "", json!({"metadata": {"finalizers": [FINALIZER]}})).gone_is_fine());
        }
        if let Some(write) = tell(range, READY, now) {
            let what = "The ServiceCIDR Status can not be set to Ready=True";
            let note = Note::warning(&**range, "KubernetesServiceCIDRError", what);
            plan.write(write.failed(note));
        }
        return plan;
    };
    if keeps_addresses(range, view) {
        tell(range, TERMINATING, now).into_iter().for_each(|write| plan.write(write));
        return plan;
    }
    let free_at = deleted.0 + DELETION_GRACE;
    if now < free_at {
        return Plan::wake_at(free_at);
    }
    if is_protected {
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
        plan.write(Write::patch(&**range, "", patch).gone_is_fine());
    }
    plan
}

/// Whether a Service has an address that would be of no range without this one.
fn keeps_addresses(range: &ServiceCIDR, view: &View) -> bool {
    let own: Vec<Cidr> = cidrs(range).collect();
    let others = view.of::<ServiceCIDR>().iter().filter(|other| Typed::name(&***other) != Typed::name(range));
    let others: Vec<Cidr> = others.flat_map(|other| cidrs(other)).collect();
    if own.iter().all(|cidr| others.iter().any(|other| other.covers(cidr))) {
        return false;
    }
    let held = |by: &[Cidr], ip: IpAddr| by.iter().any(|cidr| cidr.has_host(ip));
    let mut addresses = view.of::<IPAddress>().iter().filter_map(|address| allocated(address));
    addresses.any(|ip| held(&own, ip) && !held(&others, ip))
}

/// `None` when it says so already.
fn tell(range: &ServiceCIDR, readiness: Readiness, now: Timestamp) -> Option<Write> {
    let mut conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let known = conditions.find(|condition| condition.type_ == "Ready");
    if known.is_some_and(|known| (&*known.status, &*known.reason, &*known.message) == readiness) {
        return None;
    }
    let (status, reason, message) = readiness;
    let condition = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": seconds(now),
    });
    Some(Write::apply(range, "status", json!({"status": {"conditions": [condition]}}), SOURCE))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::common::fixture::{body, decide};

    pub const CONVERGED: &str = "
kind: ServiceCIDR
metadata: {name: kubernetes, finalizers: [networking.k8s.io/service-cidr-finalizer]}
spec: {cidrs: [10.0.0.0/24]}
status: {conditions: [{type: Ready, status: 'True', reason: '', message: Kubernetes Service CIDR is ready}]}
";
    const ADDRESS: &str = "
---
kind: IPAddress
metadata: {name: 10.0.0.9, labels: {ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io}}
";
    const PATCH: &str = "patch servicecidrs kubernetes";
    const STATUS: &str = "patch servicecidrs/status kubernetes";

    fn lines(yaml: &str) -> Vec<String> {
        decide(&controller(), "kubernetes", yaml).lines()
    }

    /// Deleted at that time of the fixtures' day, with more in the world.
    fn leaving(time: &str, more: &str) -> String {
        let named = format!("name: kubernetes, deletionTimestamp: '2026-01-01T{time}Z',");
        CONVERGED.replace("name: kubernetes,", &named) + more
    }

    fn another(cidr: &str) -> String {
        format!("---\nkind: ServiceCIDR\nmetadata: {{name: more}}\nspec: {{cidrs: ['{cidr}']}}")
    }

    #[test]
    fn a_range_is_protected_and_ready() {
        let plan = decide(&controller(), "kubernetes", "kind: ServiceCIDR\nmetadata: {name: kubernetes}");
        assert_eq!(plan.lines(), [PATCH, STATUS]);
        assert_eq!(body(&plan, PATCH)["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!(
            body(&plan, STATUS),
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
                "status": {"conditions": [{
                    "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready",
                    "lastTransitionTime": "2026-01-01T12:00:00Z",
                }]},
            })
        );
        let failed = plan.writes().nth(1).unwrap().failed.as_deref().unwrap();
        assert_eq!(failed.reason, "KubernetesServiceCIDRError");
        assert_eq!(lines(&CONVERGED.replace("message: Kubernetes", "message: Kubernetes default")), [STATUS]);
    }

    #[test]
    fn a_range_goes_ten_seconds_later() {
        assert_eq!(lines(&leaving("11:59:55", "")), ["wake 2026-01-01T12:00:05Z"]);
        let plan = decide(&controller(), "kubernetes", &leaving("11:59:50", ""));
        assert_eq!(body(&plan, PATCH)["metadata"]["$deleteFromPrimitiveList/finalizers"], json!([FINALIZER]));
        let other = leaving("11:00:00", "").replace("networking.k8s.io/service-cidr-finalizer", "example.com/other");
        assert!(lines(&other).is_empty());
    }

    #[test]
    fn a_range_stays_while_it_alone_holds_a_services_address() {
        let held = leaving("11:00:00", ADDRESS);
        let condition = &body(&decide(&controller(), "kubernetes", &held), STATUS)["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Terminating")));
        let (_, _, message) = TERMINATING;
        assert_eq!(condition["message"], message);
        let told = held.replace("status: 'True', reason: ''", "status: 'False', reason: Terminating");
        assert!(lines(&told.replace("Kubernetes Service CIDR is ready", &format!("'{message}'"))).is_empty());
        for (world, stays) in [
            // Others hold it, whole or just this address; or not.
            (held.clone() + &another("10.0.0.0/24"), false),
            (held.clone() + &another("10.0.0.0/16"), false),
            (held.clone() + &another("10.0.0.8/29"), false),
            (held.clone() + &another("10.0.0.0/29"), true),
            (held.clone() + &another("10.0.0.9/32"), true),
            // Nobody's address by the allocator, or of another range.
            (held.replace("ipallocator.k8s.io", "example.com"), false),
            (held.replace("name: 10.0.0.9", "name: 10.0.1.9"), false),
            (held.replace("name: 10.0.0.9", "name: 10.0.0.255"), false),
        ] {
            assert_eq!(lines(&world), [if stays { STATUS } else { PATCH }], "{world}");
        }
    }

    #[test]
    fn both_ranges_of_a_dual_stack_cluster_count() {
        let dual = leaving("11:00:00", &ADDRESS.replace("10.0.0.9", "fd00::9"));
        let dual = dual.replace("cidrs: [10.0.0.0/24]", "cidrs: [10.0.0.0/24, 'fd00::/112']");
        assert_eq!(lines(&dual), [STATUS]);
        assert_eq!(lines(&(dual.clone() + &another("10.0.0.0/16"))), [STATUS]);
        assert_eq!(lines(&(dual + &another("fd00::/108"))), [PATCH]);
    }
}
