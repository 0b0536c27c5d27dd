//! What the hooks of the odd kinds do.

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::kinds::by_kind;

fn kind(group: &str, name: &str) -> &'static dyn Kind {
    by_kind(group, if group == "autoscaling" { "v2" } else { "v1" }, name).expect("a built-in kind")
}

fn created(group: &str, name: &str, mut obj: Value) -> Value {
    kind(group, name).prepare_create(&mut obj);
    obj
}

fn updated(group: &str, name: &str, old: &Value, mut obj: Value) -> Value {
    kind(group, name).prepare_update(&mut obj, old);
    obj
}

fn through(subresource: &str, group: &str, name: &str, old: &Value, mut obj: Value) -> Value {
    kind(group, name).prepare_subresource(subresource, &mut obj, old);
    obj
}

#[test]
fn status_is_dropped_kept_and_kept_apart() {
    let old = json!({ "metadata": { "labels": { "a": "1" } }, "spec": { "replicas": 1 }, "status": { "replicas": 1 } });
    let sent =
        json!({ "metadata": { "labels": { "a": "2" } }, "spec": { "replicas": 2 }, "status": { "replicas": 2 } });
    // (kind, whether status writes change labels)
    for (group, name, labels) in [
        ("apps", "ReplicaSet", true),
        ("apps", "Deployment", false),
        ("networking.k8s.io", "ServiceCIDR", false),
        ("storage.k8s.io", "VolumeAttachment", false),
        ("", "ResourceQuota", true),
    ] {
        assert_eq!(created(group, name, sent.clone()).get("status"), None, "{name}");
        let main = updated(group, name, &old, sent.clone());
        assert_eq!((&main["spec"], &main["status"]), (&sent["spec"], &old["status"]), "{name}");
        let status = through("status", group, name, &old, sent.clone());
        assert_eq!((&status["spec"], &status["status"]), (&old["spec"], &sent["status"]), "{name}");
        let expected = if labels { &sent } else { &old };
        assert_eq!(status["metadata"]["labels"], expected["metadata"]["labels"], "{name}");
    }
}

#[test]
fn a_claim_is_pending_from_its_first_moment() {
    let claim = created("", "PersistentVolumeClaim", json!({ "spec": {}, "status": { "phase": "Bound" } }));
    assert_eq!(claim["status"], json!({ "phase": "Pending" }));
}

#[test]
fn generations_count_what_upstream_counts() {
    let changed = |group, name, a: Value, b: Value| {
        kind(group, name).generation_changed(&a, &b) || kind(group, name).generation_changes_as_sent(&a, &b)
    };
    assert!(changed("apps", "ReplicaSet", json!({ "spec": { "a": 1 } }), json!({ "spec": { "a": 2 } })));
    assert!(!changed("apps", "ReplicaSet", json!({ "spec": { "a": 1, "b": null } }), json!({ "spec": { "a": 1 } })));
    assert!(!changed("apps", "ReplicaSet", json!({ "metadata": { "annotations": { "a": "1" } } }), json!({})));
    assert!(changed("apps", "Deployment", json!({ "metadata": { "annotations": { "a": "1" } } }), json!({})));
    assert!(changed("", "PodTemplate", json!({ "template": {} }), json!({})));
    assert!(changed(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        json!({ "webhooks": [1] }),
        json!({})
    ));
    assert!(changed("discovery.k8s.io", "EndpointSlice", json!({ "metadata": { "labels": { "a": "1" } } }), json!({})));
    assert!(!changed(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "metadata": { "annotations": { "a": "1" } } }),
        json!({})
    ));
    assert!(!changed("scheduling.k8s.io", "PriorityClass", json!({ "value": 1 }), json!({ "value": 2 })));
}

#[test]
fn namespaces_end_by_finalize() {
    let new = created(
        "",
        "Namespace",
        json!({ "metadata": { "name": "n" }, "spec": { "finalizers": ["mine"] }, "status": { "phase": "x" } }),
    );
    assert_eq!(
        new,
        json!({ "metadata": { "name": "n", "labels": { "kubernetes.io/metadata.name": "n" } },
            "spec": { "finalizers": ["mine", "kubernetes"] }, "status": { "phase": "Active" } })
    );
    let main = updated("", "Namespace", &new, json!({ "metadata": { "name": "n" }, "spec": { "finalizers": [] } }));
    assert_eq!(main["spec"], new["spec"]);
    let finalized = through(
        "finalize",
        "",
        "Namespace",
        &new,
        json!({ "metadata": { "name": "n" }, "spec": {}, "status": { "phase": "y" } }),
    );
    assert_eq!((&finalized["spec"], &finalized["status"]), (&json!({}), &new["status"]));
}

#[test]
fn certificates_are_asked_approved_and_issued_by_three() {
    let asked = created(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        json!({ "spec": { "request": "r", "username": "root", "groups": ["system:masters"], "uid": "1", "extra": {} }, "status": { "certificate": "c" } }),
    );
    assert_eq!(asked, json!({ "spec": { "request": "r" } }));
    let mut signed = asked.clone();
    kind("certificates.k8s.io", "CertificateSigningRequest")
        .record_requester(&mut signed, &json!({ "username": "u", "groups": ["g"] }));
    assert_eq!(signed, json!({ "spec": { "request": "r", "username": "u", "groups": ["g"] } }));
    let approve = json!({ "spec": { "request": "s" }, "status": { "certificate": "forged", "conditions": [{ "type": "Approved", "status": "True" }] } });
    let approved = through("approval", "certificates.k8s.io", "CertificateSigningRequest", &asked, approve);
    assert_eq!(approved["spec"], asked["spec"]);
    assert_eq!(approved["status"].get("certificate"), None);
    let condition = &approved["status"]["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string());
    // The signer can neither drop nor change the approval.
    let issue = json!({ "status": { "certificate": "c", "conditions": [{ "type": "Approved", "status": "False", "reason": "changed" }] } });
    let issued = through("status", "certificates.k8s.io", "CertificateSigningRequest", &approved, issue);
    assert_eq!(issued["status"]["conditions"], approved["status"]["conditions"]);
    assert_eq!(issued["status"]["certificate"], "c");
    let main = updated(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        &issued,
        json!({ "metadata": { "labels": {} }, "spec": {} }),
    );
    assert_eq!((&main["spec"], &main["status"]), (&issued["spec"], &issued["status"]));
}

#[test]
fn services_forget_what_their_new_type_has_no_use_for() {
    let old = json!({ "spec": { "type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{ "port": 80, "nodePort": 30080 }], "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001, "allocateLoadBalancerNodePorts": true, "loadBalancerClass": "c" },
        "status": { "loadBalancer": { "ingress": [{ "ip": "1.1.1.1" }] } } });
    let to = |ty: &str, change: fn(&mut Value)| {
        let mut new = old.clone();
        new["spec"]["type"] = ty.into();
        change(&mut new["spec"]);
        updated("", "Service", &old, new)
    };
    assert_eq!(to("LoadBalancer", |_| {}), old);
    let cluster = to("ClusterIP", |_| {});
    assert_eq!(
        cluster,
        json!({ "spec": { "type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{ "port": 80 }] }, "status": { "loadBalancer": {} } })
    );
    assert_eq!(to("ExternalName", |_| {})["spec"], json!({ "type": "ExternalName", "ports": [{ "port": 80 }] }));
    // What the client changed itself stays, for validation to see.
    assert_eq!(
        to("ClusterIP", |spec| spec["ports"][0]["nodePort"] = 30081.into())["spec"]["ports"][0]["nodePort"],
        30081
    );
    assert_eq!(to("NodePort", |_| {})["spec"]["ports"][0]["nodePort"], 30080);
}

#[test]
fn jobs_select_their_own_pods() {
    let job = created("batch", "Job", json!({ "metadata": { "name": "j", "uid": "u" }, "spec": { "template": {} } }));
    let labels = json!({ "job-name": "j", "batch.kubernetes.io/job-name": "j", "controller-uid": "u", "batch.kubernetes.io/controller-uid": "u" });
    assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(job["spec"]["selector"], json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "u" } }));
    let manual = json!({ "metadata": { "name": "j", "uid": "u" }, "spec": { "manualSelector": true, "template": {} } });
    assert_eq!(created("batch", "Job", manual.clone()), manual);
}

#[test]
fn daemon_sets_count_templates() {
    const GENERATION: &str = "deprecated.daemonset.template.generation";
    let one = created("apps", "DaemonSet", json!({ "spec": { "template": { "a": 1 } } }));
    assert_eq!(one["metadata"]["annotations"][GENERATION], "1");
    let same = updated("apps", "DaemonSet", &one, json!({ "spec": { "template": { "a": 1 }, "minReadySeconds": 3 } }));
    assert_eq!(same["metadata"]["annotations"][GENERATION], "1");
    let two = updated("apps", "DaemonSet", &one, json!({ "spec": { "template": { "a": 2 } } }));
    assert_eq!(two["metadata"]["annotations"][GENERATION], "2");
}

#[test]
fn pods_change_through_narrow_doors() {
    let old = json!({ "metadata": { "name": "p", "labels": { "a": "1" } },
        "spec": { "nodeName": "n", "containers": [{ "name": "c", "image": "i", "resources": { "limits": { "cpu": "1" } } }] }, "status": { "phase": "Running" } });
    let sent = json!({ "metadata": { "name": "p", "labels": { "a": "2" }, "resourceVersion": "7" },
        "spec": { "nodeName": "m", "containers": [{ "name": "c", "image": "j", "resources": { "limits": { "cpu": "2" } } }], "ephemeralContainers": [{ "name": "d" }] }, "status": {} });
    let debugged = through("ephemeralcontainers", "", "Pod", &old, sent.clone());
    let mut expected = old.clone();
    expected["metadata"]["resourceVersion"] = "7".into();
    expected["spec"]["ephemeralContainers"] = json!([{ "name": "d" }]);
    assert_eq!(debugged, expected);
    let resized = through("resize", "", "Pod", &old, sent.clone());
    let mut expected = old.clone();
    expected["metadata"]["resourceVersion"] = "7".into();
    expected["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "2" } });
    assert_eq!(resized, expected);
    // Other containers than before are left for validation to reject.
    let other = json!({ "spec": { "containers": [{ "name": "x" }] } });
    assert_eq!(through("resize", "", "Pod", &old, other.clone()), other);
    let new = created(
        "",
        "Pod",
        json!({ "spec": { "containers": [{}], "schedulingGates": [{ "name": "g" }] }, "status": { "phase": "Running" } }),
    );
    assert_eq!((&new["status"]["phase"], &new["status"]["qosClass"]), (&json!("Pending"), &json!("BestEffort")));
    assert_eq!(new["status"]["conditions"][0]["reason"], "SchedulingGated");
}

#[test]
fn volumes() {
    let new = created("", "PersistentVolume", json!({ "spec": {}, "status": { "phase": "Bound" } }));
    assert_eq!(new["status"]["phase"], "Pending");
    assert!(new["status"]["lastPhaseTransitionTime"].is_string());
    let old = json!({ "spec": {}, "status": { "phase": "Bound", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z" } });
    let same = through("status", "", "PersistentVolume", &old, json!({ "status": { "phase": "Bound" } }));
    assert_eq!(same["status"], old["status"]);
    let released = through(
        "status",
        "",
        "PersistentVolume",
        &old,
        json!({ "status": { "phase": "Released", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z" } }),
    );
    assert_ne!(released["status"]["lastPhaseTransitionTime"], old["status"]["lastPhaseTransitionTime"]);
    for (spec, source, reference) in [
        (json!({ "dataSource": { "kind": "PersistentVolumeClaim", "name": "a" } }), true, true),
        (
            json!({ "dataSource": { "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "a" } }),
            true,
            true,
        ),
        (json!({ "dataSource": { "kind": "Pod", "name": "a" } }), false, false),
        (json!({ "dataSourceRef": { "apiGroup": "g", "kind": "Populator", "name": "a" } }), true, true),
        (json!({ "dataSourceRef": { "kind": "Populator", "name": "a", "namespace": "other" } }), false, false),
    ] {
        let claim = created("", "PersistentVolumeClaim", json!({ "spec": spec }));
        let there = (claim["spec"].get("dataSource").is_some(), claim["spec"].get("dataSourceRef").is_some());
        assert_eq!(there, (source, reference), "{spec}");
    }
}

#[test]
fn small_ones() {
    let secret = updated("", "Secret", &json!({ "type": "Opaque" }), json!({ "data": {} }));
    assert_eq!(secret["type"], "Opaque");
    let account =
        created("", "ServiceAccount", json!({ "secrets": [{ "name": "s", "namespace": "n", "kind": "Secret" }] }));
    assert_eq!(account["secrets"], json!([{ "name": "s" }]));
    let slice = created(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "endpoints": [{ "addresses": [], "deprecatedTopology": { "a": "b" } }] }),
    );
    assert_eq!(slice["endpoints"], json!([{ "addresses": [] }]));
    let service = created("apiregistration.k8s.io", "APIService", json!({ "spec": {} }));
    assert_eq!(service["status"]["conditions"][0]["reason"], "Local");
    let crd = created(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        json!({ "spec": { "versions": [{ "name": "v1" }, { "name": "v2", "storage": true }] } }),
    );
    assert_eq!(crd["status"]["storedVersions"], json!(["v2"]));
    let moved = updated(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &crd,
        json!({ "spec": { "versions": [{ "name": "v3", "storage": true }] } }),
    );
    assert_eq!(moved["status"]["storedVersions"], json!(["v2", "v3"]));
    let lease = created("coordination.k8s.io", "Lease", json!({ "spec": { "strategy": "x", "holderIdentity": "h" } }));
    assert_eq!(lease["spec"], json!({ "holderIdentity": "h" }));
    assert!(!crate::meta::name(&created("", "LimitRange", json!({ "metadata": {} }))).is_empty());
    let old = json!({ "status": { "allocation": { "devices": { "results": [{ "driver": "d", "pool": "p", "device": "x" }] } }, "devices": [{ "driver": "d", "pool": "p", "device": "x" }] } });
    let freed = through(
        "status",
        "resource.k8s.io",
        "ResourceClaim",
        &old,
        json!({ "status": { "devices": [{ "driver": "d", "pool": "p", "device": "x" }] } }),
    );
    assert_eq!(freed["status"], json!({}));
    let node = created(
        "",
        "Node",
        json!({ "spec": { "configSource": {}, "podCIDR": "c" }, "status": { "config": {}, "phase": "x" } }),
    );
    assert_eq!(node, json!({ "spec": { "podCIDR": "c" }, "status": { "phase": "x" } }));
}

#[test]
fn field_labels_read_and_refuse() {
    let read = |group, name, label: &str, obj: &Value| {
        let labels = kind(group, name).field_labels();
        labels.iter().find(|l| l.label == label).map(|l| l.read(obj).into_owned())
    };
    let pod =
        json!({ "spec": { "nodeName": "n", "hostNetwork": true }, "status": { "podIPs": [{ "ip": "1.1.1.1" }] } });
    for (label, value) in [
        ("spec.nodeName", "n"),
        ("spec.host", "n"),
        ("spec.hostNetwork", "true"),
        ("status.podIP", "1.1.1.1"),
        ("status.podIPs", ""),
        ("status.phase", ""),
    ] {
        assert_eq!(read("", "Pod", label, &pod).as_deref(), Some(value), "{label}");
    }
    assert_eq!(read("", "Node", "spec.unschedulable", &json!({})).as_deref(), Some("false"));
    assert_eq!(
        read("batch", "Job", "status.successful", &json!({ "status": { "succeeded": 3 } })).as_deref(),
        Some("3")
    );
    assert_eq!(read("", "Event", "source", &json!({ "reportingComponent": "c" })).as_deref(), Some("c"));
    assert_eq!(
        read("events.k8s.io", "Event", "regarding.name", &json!({ "involvedObject": { "name": "p" } })).as_deref(),
        Some("p")
    );
    for (group, name, message) in [
        ("", "ConfigMap", "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
        ("", "Pod", "field label not supported: x"),
        ("batch", "Job", "field label \"x\" not supported for Job"),
        ("resource.k8s.io", "ResourceSlice", "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: x"),
    ] {
        assert_eq!(kind(group, name).unknown_field_label("x"), message);
    }
}

#[test]
fn texts_of_a_secret_become_its_data() {
    for (mut sent, kept) in [
        (json!({ "stringData": { "a": "x" } }), json!({ "data": { "a": "eA==" }, "type": "Opaque" })),
        (
            json!({ "data": { "a": "eA==", "b": "eQ==" }, "stringData": { "a": "z" }, "type": "t" }),
            json!({ "data": { "a": "eg==", "b": "eQ==" }, "type": "t" }),
        ),
        (json!({ "stringData": {} }), json!({ "type": "Opaque" })),
    ] {
        kind("", "Secret").set_defaults("v1", &mut sent);
        assert_eq!(sent, kept);
    }
}

#[test]
fn a_node_has_one_first_pod_cidr() {
    for (sent, want) in [
        (json!({"podCIDR": "a"}), json!({"podCIDR": "a", "podCIDRs": ["a"]})),
        (json!({"podCIDRs": ["a", "b"]}), json!({"podCIDR": "a", "podCIDRs": ["a", "b"]})),
        (json!({"podCIDR": "c", "podCIDRs": ["a", "b"]}), json!({"podCIDR": "c", "podCIDRs": ["c"]})),
        (json!({}), json!({})),
    ] {
        let mut node = json!({ "spec": sent });
        kind("", "Node").set_defaults("v1", &mut node);
        assert_eq!(node["spec"], want);
    }
}

#[test]
fn fields_behind_gates_go_unless_a_pod_has_them() {
    let sent = json!({ "metadata": {}, "spec": {
        "schedulingGroup": {}, "containers": [{ "name": "c", "lifecycle": { "stopSignal": "SIGUSR1" } }],
    } });
    let new = created("", "Pod", sent.clone());
    assert_eq!(new["spec"].get("schedulingGroup"), None);
    assert_eq!(new["spec"]["containers"][0].get("lifecycle"), None);
    assert_eq!(updated("", "Pod", &sent, sent.clone())["spec"], sent["spec"]);
}

#[test]
fn fields_behind_gates_go_from_templates_too() {
    for (group, name, path) in [
        ("apps", "Deployment", "/spec/template"),
        ("", "PodTemplate", "/template"),
        ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    ] {
        let template = json!({ "metadata": {}, "spec": { "schedulingGroup": {}, "containers": [] } });
        let mut sent = json!({});
        let mut at = &mut sent;
        for step in path.split('/').skip(1) {
            at = &mut at[step];
        }
        *at = template;
        let dropped = |old: &Value| {
            let mut obj = sent.clone();
            kind(group, name).drop_disabled(&mut obj, old);
            obj.pointer(path).unwrap()["spec"]["schedulingGroup"].is_null()
        };
        assert!(dropped(&Value::Null) && !dropped(&sent), "{name}");
    }
}

#[test]
fn a_job_without_labels_has_its_pods() {
    let sent = json!({ "metadata": { "name": "j", "uid": "u" }, "spec": { "template": {} } });
    let mut job = created("batch", "Job", sent);
    // As it is read back.
    kind("batch", "Job").set_defaults("v1", &mut job);
    assert_eq!(job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(job["metadata"]["labels"]["job-name"], "j");
}

#[test]
fn a_daemon_set_counts_its_templates_in_an_annotation() {
    const KEY: &str = "deprecated.daemonset.template.generation";
    let mut sent = json!({ "metadata": {}, "spec": { "template": {} } });
    kind("apps", "DaemonSet").set_defaults("v1", &mut sent);
    assert_eq!(sent["metadata"]["annotations"][KEY], "0");
    let stored = created("apps", "DaemonSet", sent.clone());
    assert_eq!(stored["metadata"]["annotations"][KEY], "1");
    assert_eq!(through("status", "apps", "DaemonSet", &stored, sent)["metadata"]["annotations"][KEY], "1");
}

#[test]
fn what_upstreams_conversions_add_and_take() {
    let defaulted = |group, version, name, mut obj: Value| {
        by_kind(group, version, name).expect("a built-in kind").set_defaults(version, &mut obj);
        obj
    };
    let set = defaulted("apps", "v1", "StatefulSet", json!({ "spec": { "volumeClaimTemplates": [{ "kind": "x" }] } }));
    let claim = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!((&claim["apiVersion"], &claim["kind"]), (&json!("v1"), &json!("PersistentVolumeClaim")));
    let scaler = defaulted("autoscaling", "v1", "HorizontalPodAutoscaler", json!({ "spec": { "maxReplicas": 2 } }));
    assert_eq!(scaler["spec"]["targetCPUUtilizationPercentage"], 80);
    let converting = json!({ "spec": { "conversion": { "strategy": "None", "webhook": {} } } });
    let definition = defaulted("apiextensions.k8s.io", "v1", "CustomResourceDefinition", converting);
    assert_eq!(definition["spec"]["conversion"].get("webhook"), None);
}

#[test]
fn what_is_dropped_may_still_count() {
    let slice = |topology: Value| json!({ "endpoints": [{ "addresses": ["a"], "deprecatedTopology": topology }] });
    let kind = kind("discovery.k8s.io", "EndpointSlice");
    assert!(kind.generation_changes_as_sent(&slice(json!({ "z": "a" })), &slice(Value::Null)));
    let set = |lifecycle: Value| json!({ "spec": { "template": { "spec": { "containers": [{ "lifecycle": lifecycle }] } } } });
    let old = created("apps", "DaemonSet", set(Value::Null));
    let new = updated("apps", "DaemonSet", &old, set(json!({ "stopSignal": "SIGINT" })));
    assert_eq!(new["metadata"]["annotations"], old["metadata"]["annotations"]);
}

#[test]
fn what_is_alpha_of_a_pod_goes_unless_it_is_there() {
    let sent = json!({ "spec": {
        "containers": [{
            "livenessProbe": { "grpc": { "mode": "TLS" } },
            "lifecycle": { "preStop": { "httpGet": { "protocol": "HTTP2" } } },
            "volumeMounts": [{ "bindMountOptions": ["nodev"] }],
        }],
        "volumes": [
            { "emptyDir": { "mode": 1 } },
            { "projected": { "defaultUser": 1, "sources": [{ "secret": { "items": [{ "user": 1 }] } }] } },
        ],
    } });
    let pod = created("", "Pod", sent.clone());
    let container =
        json!({ "livenessProbe": { "grpc": {} }, "lifecycle": { "preStop": { "httpGet": {} } }, "volumeMounts": [{}] });
    assert_eq!(pod["spec"]["containers"], json!([container]));
    let volumes = json!([{ "emptyDir": {} }, { "projected": { "sources": [{ "secret": { "items": [{}] } }] } }]);
    assert_eq!(pod["spec"]["volumes"], volumes);
    assert_eq!(updated("", "Pod", &sent, sent.clone())["spec"], sent["spec"]);
}

#[test]
fn a_mere_name_has_no_traffic_policy() {
    let spec = json!({ "spec": { "type": "ExternalName", "internalTrafficPolicy": "Cluster" } });
    assert_eq!(created("", "Service", spec)["spec"].get("internalTrafficPolicy"), None);
}

#[test]
fn empty_rules_of_a_policy_are_not_none() {
    let kind = kind("networking.k8s.io", "NetworkPolicy");
    assert!(kind.generation_changed(&json!({ "spec": { "egress": [] } }), &json!({ "spec": {} })));
}
