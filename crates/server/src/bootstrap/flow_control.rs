//! Flow control's objects that every cluster has
//! (`k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go`).

use orlop_api::Value;
use orlop_api::kinds::flowcontrol::mandatory;
use serde_json::json;

use super::objects::{Keep, Wanted};

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Name, shares, lendable percent, then queues, hand size and queue length; all queue what is too much.
const LEVELS: [(&str, u32, u32, (u32, u32, u32)); 6] = [
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
];

const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// The mandatory ones, whose spec is kept, then the suggested ones.
pub fn all() -> Vec<Wanted> {
    let fixed = |kind, spec: fn(&str) -> Option<Value>| {
        MANDATORY.into_iter().filter_map(move |name| Some(wanted(kind, name, spec(name)?)))
    };
    let mut all: Vec<Wanted> = fixed("PriorityLevelConfiguration", mandatory::level).collect();
    all.extend(LEVELS.map(|(name, shares, lendable, (queues, hand, length))| {
        let response = json!({"type": "Queue", "queuing": {
            "queues": queues, "handSize": hand, "queueLengthLimit": length}});
        let limited =
            json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
        wanted("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
    }));
    all.extend(fixed("FlowSchema", mandatory::schema));
    all.extend(schemas());
    all
}

/// The objects without which nobody could be served.
pub fn mandatory() -> Vec<Value> {
    all().into_iter().map(|wanted| wanted.object).filter(|object| is_mandatory(orlop_api::meta::name(object))).collect()
}

fn is_mandatory(name: &str) -> bool {
    MANDATORY.contains(&name)
}

fn schemas() -> Vec<Wanted> {
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let user = |name: &str| json!([{"kind": "User", "user": {"name": name}}]);
    let system_accounts =
        || json!([{"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}}]);
    let nodes = || groups(&["system:nodes"]);
    let mut electors: Vec<Value> = ["system:kube-controller-manager", "system:kube-scheduler"]
        .iter()
        .map(|name| json!({"kind": "User", "user": {"name": name}}))
        .collect();
    electors.extend(system_accounts().as_array().cloned().unwrap_or_default());
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    let leases = resources(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false);
    let node_writes = [
        resources(&["*"], "", &["nodes", "nodes/status"], true),
        resources(&["*"], "coordination.k8s.io", &["leases"], false),
    ];
    let (by_user, by_namespace) = (Some("ByUser"), Some("ByNamespace"));
    vec![
        schema("system-nodes", "system", 500, by_user, everything(nodes())),
        schema(
            "system-node-high",
            "node-high",
            400,
            by_user,
            json!({"subjects": nodes(), "resourceRules": node_writes}),
        ),
        schema("probes", "exempt", 2, None, json!({"subjects": everybody(), "nonResourceRules": probes})),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            by_user,
            json!({"subjects": electors, "resourceRules": [leases]}),
        ),
        schema(
            "kube-controller-manager",
            "workload-high",
            800,
            by_namespace,
            everything(user("system:kube-controller-manager")),
        ),
        schema("kube-scheduler", "workload-high", 800, by_namespace, everything(user("system:kube-scheduler"))),
        schema("kube-system-service-accounts", "workload-high", 900, by_namespace, everything(system_accounts())),
        schema("service-accounts", "workload-low", 9000, by_user, everything(groups(&["system:serviceaccounts"]))),
        schema("global-default", "global-default", 9900, by_user, everything(everybody())),
    ]
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster_scope {
        rule["clusterScope"] = true.into();
    }
    rule
}

/// Whatever the subjects do.
fn everything(subjects: Value) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn schema(name: &str, level: &str, precedence: u32, distinguisher: Option<&str>, rules: Value) -> Wanted {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rules],
    });
    if let Some(distinguisher) = distinguisher {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    wanted("FlowSchema", name, spec)
}

fn wanted(kind: &str, name: &str, spec: Value) -> Wanted {
    Wanted {
        group: GROUP,
        plural: if kind == "FlowSchema" { "flowschemas" } else { "prioritylevelconfigurations" },
        namespace: "",
        object: json!({
            "kind": kind, "apiVersion": API_VERSION,
            "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}, "spec": spec,
        }),
        keep: if is_mandatory(name) { Keep::Fields(&["/spec"]) } else { Keep::Existence },
    }
}
