//! All other groups, one list each (upstream `pkg/apis/<group>/v1`).

use serde_json::{Value, json};

use super::{Object, Rule, child, existing, is_empty, set, set_number, set_text, text};

pub const RULES: &[(&str, &[(&str, Rule)])] = &[
    (
        "io.k8s.api.apps.v1.",
        &[
            ("DaemonSet", daemon_set),
            ("Deployment", deployment),
            ("ReplicaSet", |r| set(child(r, "spec"), "replicas", 1)),
            ("StatefulSet", stateful_set),
        ],
    ),
    ("io.k8s.api.authentication.v1.", &[("TokenRequestSpec", |s| set(s, "expirationSeconds", 3600))]),
    ("io.k8s.api.autoscaling.v1.", &[("HorizontalPodAutoscalerSpec", |s| set(s, "minReplicas", 1))]),
    ("io.k8s.api.autoscaling.v2.", &[("HorizontalPodAutoscalerSpec", autoscaler)]),
    (
        "io.k8s.api.batch.v1.",
        &[
            ("CronJob", cron_job),
            ("Job", job),
            ("PodFailurePolicyOnPodConditionsPattern", |p| set_text(p, "status", "True")),
        ],
    ),
    ("io.k8s.api.certificates.v1.", &[("PodCertificateRequestSpec", |s| set(s, "maxExpirationSeconds", 86_400))]),
    (
        "io.k8s.api.discovery.v1.",
        &[("EndpointPort", |p| {
            set(p, "name", "");
            set(p, "protocol", "TCP");
        })],
    ),
    (
        "io.k8s.api.flowcontrol.v1.",
        &[
            ("ExemptPriorityLevelConfiguration", |c| {
                set(c, "nominalConcurrencyShares", 0);
                set(c, "lendablePercent", 0);
            }),
            ("FlowSchemaSpec", |s| set_number(s, "matchingPrecedence", 1000)),
            ("LimitedPriorityLevelConfiguration", |c| {
                set(c, "nominalConcurrencyShares", 30);
                set(c, "lendablePercent", 0);
            }),
            ("QueuingConfiguration", |c| {
                set_number(c, "handSize", 8);
                set_number(c, "queues", 64);
                set_number(c, "queueLengthLimit", 50);
            }),
        ],
    ),
    (
        "io.k8s.api.networking.v1.",
        &[
            ("IngressClass", ingress_class),
            ("NetworkPolicy", network_policy),
            ("NetworkPolicyPort", |p| set(p, "protocol", "TCP")),
        ],
    ),
    (
        "io.k8s.api.rbac.v1.",
        &[("ClusterRoleBinding", role_reference), ("RoleBinding", role_reference), ("Subject", subject)],
    ),
    (
        "io.k8s.api.resource.v1.",
        &[
            ("DeviceSubRequest", device_request),
            ("DeviceTaint", |t| set(t, "timeAdded", orlop_base::clock::rfc3339())),
            ("DeviceToleration", |t| set_text(t, "operator", "Equal")),
            ("ExactDeviceRequest", device_request),
        ],
    ),
    ("io.k8s.api.scheduling.v1.", &[("PriorityClass", |c| set(c, "preemptionPolicy", "PreemptLowerPriority"))]),
    ("io.k8s.api.storage.v1.", &[("CSIDriver", csi_driver), ("StorageClass", storage_class)]),
    (
        "io.k8s.api.admissionregistration.v1.",
        &[
            ("MatchResources", match_resources),
            ("MutatingAdmissionPolicySpec", fail_closed),
            ("MutatingWebhook", |w| {
                webhook(w);
                set(w, "reinvocationPolicy", "Never");
            }),
            // Go's `Rule` and `NamedRuleWithOperations` are inlined in these.
            ("NamedRuleWithOperations", all_scopes),
            ("RuleWithOperations", all_scopes),
            ("ServiceReference", https_port),
            ("ValidatingAdmissionPolicySpec", fail_closed),
            ("ValidatingWebhook", webhook),
        ],
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
        &[("CustomResourceDefinition", custom_resource_definition), ("ServiceReference", https_port)],
    ),
    ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.", &[("ServiceReference", https_port)]),
];

fn https_port(reference: &mut Object) {
    set(reference, "port", 443);
}

fn deployment(deployment: &mut Object) {
    let spec = child(deployment, "spec");
    set(spec, "replicas", 1);
    let strategy = child(spec, "strategy");
    set_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", "25%");
        set(rolling, "maxSurge", "25%");
    }
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
}

fn daemon_set(set_: &mut Object) {
    let spec = child(set_, "spec");
    let strategy = child(spec, "updateStrategy");
    set_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", 1);
        set(rolling, "maxSurge", 0);
    }
    set(spec, "revisionHistoryLimit", 10);
}

fn stateful_set(set_: &mut Object) {
    let spec = child(set_, "spec");
    set_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = child(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        set_text(strategy, "type", "RollingUpdate");
        child(strategy, "rollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = existing(strategy, "rollingUpdate")
    {
        set(rolling, "partition", 0);
        set(rolling, "maxUnavailable", 1);
    }
    let retention = child(spec, "persistentVolumeClaimRetentionPolicy");
    set_text(retention, "whenDeleted", "Retain");
    set_text(retention, "whenScaled", "Retain");
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
}

fn job(job: &mut Object) {
    let spec = child(job, "spec");
    if !super::has(spec, "completions") && !super::has(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    let retries = if super::has(spec, "backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    set(spec, "backoffLimit", retries);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let replacement = if super::has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", replacement);
    set(spec, "manualSelector", false);
    let labels = spec.get("template").map(|t| t["metadata"]["labels"].clone()).filter(Value::is_object);
    let metadata = child(job, "metadata");
    if let Some(labels) = labels.filter(|_| is_empty(metadata, "labels")) {
        metadata.insert("labels".into(), labels);
    }
}

fn cron_job(job: &mut Object) {
    let spec = child(job, "spec");
    set_text(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
}

fn autoscaler(spec: &mut Object) {
    set(spec, "minReplicas", 1);
    if is_empty(spec, "metrics") {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        spec.insert("metrics".into(), json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]));
    }
    if let Some(behavior) = existing(spec, "behavior") {
        let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
        let up = child(behavior, "scaleUp");
        set(up, "stabilizationWindowSeconds", 0);
        set(up, "selectPolicy", "Max");
        set(up, "policies", json!([{ "type": "Pods", "value": 4, "periodSeconds": 15 }, percent]));
        let down = child(behavior, "scaleDown");
        set(down, "selectPolicy", "Max");
        set(down, "policies", json!([percent]));
    }
}

fn network_policy(policy: &mut Object) {
    let spec = child(policy, "spec");
    if is_empty(spec, "policyTypes") {
        let types = if is_empty(spec, "egress") { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        spec.insert("policyTypes".into(), types);
    }
}

fn ingress_class(class: &mut Object) {
    if let Some(parameters) = existing(class, "spec").and_then(|s| existing(s, "parameters")) {
        set(parameters, "scope", "Cluster");
    }
}

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

fn role_reference(binding: &mut Object) {
    set_text(child(binding, "roleRef"), "apiGroup", RBAC_GROUP);
}

fn subject(subject: &mut Object) {
    if matches!(text(subject, "kind"), "User" | "Group") {
        set_text(subject, "apiGroup", RBAC_GROUP);
    }
}

fn device_request(request: &mut Object) {
    set_text(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        set_number(request, "count", 1);
    }
}

fn storage_class(class: &mut Object) {
    set(class, "reclaimPolicy", "Delete");
    set(class, "volumeBindingMode", "Immediate");
}

fn csi_driver(driver: &mut Object) {
    let spec = child(driver, "spec");
    set(spec, "attachRequired", true);
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    for field in
        ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount", "preventPodSchedulingIfMissing"]
    {
        set(spec, field, false);
    }
    if is_empty(spec, "volumeLifecycleModes") {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}

fn webhook(webhook: &mut Object) {
    fail_closed(webhook);
    match_resources(webhook);
    set(webhook, "timeoutSeconds", 10);
}

fn fail_closed(spec: &mut Object) {
    set(spec, "failurePolicy", "Fail");
}

fn match_resources(resources: &mut Object) {
    set(resources, "matchPolicy", "Equivalent");
    set(resources, "namespaceSelector", json!({}));
    set(resources, "objectSelector", json!({}));
}

fn all_scopes(rule: &mut Object) {
    set(rule, "scope", "*");
}

fn custom_resource_definition(definition: &mut Object) {
    let spec = child(definition, "spec");
    set(spec, "conversion", json!({ "strategy": "None" }));
    let stored: Vec<Value> = spec
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|v| v["storage"] == true)
        .take(1)
        .map(|v| v["name"].clone())
        .collect();
    let names = child(spec, "names");
    let kind = text(names, "kind").to_owned();
    set_text(names, "singular", &kind.to_lowercase());
    if !kind.is_empty() {
        set_text(names, "listKind", &format!("{kind}List"));
    }
    let status = child(definition, "status");
    if is_empty(status, "storedVersions") {
        status.insert("storedVersions".into(), Value::Array(stored));
    }
}
