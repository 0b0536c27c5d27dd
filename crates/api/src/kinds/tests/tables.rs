//! Rows as `kubectl get -o wide` shows them; most are told after upstream's `printers_test.go`.

use serde_json::{Value, json};

use crate::kinds::by_kind;
use crate::table::Now;

/// 2026-01-01T00:00:00Z
const NOW: Now = Now::At(1_767_225_600);
const HOUR_AGO: &str = "2025-12-31T23:00:00Z";
const FIVE_MINUTES_AGO: &str = "2025-12-31T23:55:00Z";

/// The row of an object created an hour ago, cells separated by bars.
fn row(group: &str, kind: &str, mut obj: Value) -> String {
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let kind = by_kind(group, version, kind).expect("a built-in kind");
    for (field, value) in [("name", "x"), ("creationTimestamp", HOUR_AGO)] {
        if obj["metadata"][field].is_null() {
            obj["metadata"][field] = value.into();
        }
    }
    let cells = kind.row(&obj, NOW);
    assert!(cells.len() >= kind.columns().len());
    let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    cells.iter().map(text).collect::<Vec<_>>().join("|")
}

fn check(group: &str, kind: &str, cases: &[(Value, &str)]) {
    for (obj, expected) in cases {
        assert_eq!(row(group, kind, obj.clone()), *expected, "{obj}");
    }
}

/// A pod of `n` containers.
fn pod(n: usize, status: Value) -> Value {
    let containers: Value = (0..n).map(|i| json!({ "name": format!("c{i}") })).collect();
    json!({ "spec": { "containers": containers }, "status": status })
}

fn pod_row(obj: Value) -> String {
    let row = row("", "Pod", obj);
    row.strip_prefix("x|").and_then(|row| row.split("|60m|").next()).expect("name and age").to_owned()
}

#[test]
fn pods_say_what_their_containers_do() {
    let running = json!({ "ready": true, "restartCount": 3, "state": { "running": {} } });
    let done = |reason: &str, code: i64| json!({ "state": { "terminated": { "reason": reason, "exitCode": code } } });
    for (obj, expected) in [
        (
            pod(2, json!({ "phase": "podPhase", "containerStatuses": [running, { "restartCount": 3 }] })),
            "1/2|podPhase|6",
        ),
        (
            pod(
                2,
                json!({ "phase": "podPhase", "containerStatuses": [
            { "restartCount": 3, "state": { "waiting": { "reason": "ContainerWaitingReason" } } }, { "restartCount": 3 }] }),
            ),
            "0/2|ContainerWaitingReason|6",
        ),
        (pod(1, json!({ "phase": "podPhase", "reason": "podReason" })), "0/1|podReason|0"),
        (
            pod(
                1,
                json!({ "phase": "Running", "containerStatuses": [{ "ready": true, "restartCount": 3, "state": { "running": {} },
            "lastState": { "terminated": { "finishedAt": FIVE_MINUTES_AGO } } }] }),
            ),
            "1/1|Running|3 (5m ago)",
        ),
        // A container done next to one running.
        (pod(2, json!({ "phase": "Running", "containerStatuses": [done("Completed", 0), running] })), "1/2|NotReady|3"),
        (
            pod(
                2,
                json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [done("Completed", 0), running] }),
            ),
            "1/2|Running|3",
        ),
        (
            pod(2, json!({ "phase": "Running", "containerStatuses": [done("Completed", 0), done("Error", 1)] })),
            "0/2|Error|0",
        ),
        (
            pod(
                1,
                json!({ "phase": "Failed", "containerStatuses": [{ "state": { "terminated": { "exitCode": 2 } } }] }),
            ),
            "0/1|ExitCode:2|0",
        ),
        (
            pod(
                1,
                json!({ "phase": "Failed", "containerStatuses": [{ "state": { "terminated": { "signal": 9, "exitCode": 137 } } }] }),
            ),
            "0/1|Signal:9|0",
        ),
        (pod(1, json!({ "phase": "Succeeded", "containerStatuses": [done("Completed", 0)] })), "0/1|Completed|0"),
        // Gates before scheduling.
        (
            pod(
                1,
                json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" }] }),
            ),
            "0/1|SchedulingGated|0",
        ),
    ] {
        assert_eq!(pod_row(obj.clone()), expected, "{obj}");
    }
}

#[test]
fn pods_say_how_far_initialization_is() {
    let with_init = |init: Value, status: Value| {
        let mut obj = pod(1, json!({ "phase": "Pending", "initContainerStatuses": status }));
        obj["spec"]["initContainers"] = init;
        obj
    };
    let two = json!([{ "name": "a" }, { "name": "b" }]);
    let side = json!([{ "name": "a", "restartPolicy": "Always" }, { "name": "b" }]);
    let done = json!({ "name": "a", "state": { "terminated": { "exitCode": 0 } }, "restartCount": 1 });
    for (obj, expected) in [
        (with_init(two.clone(), json!([{ "name": "a" }])), "0/1|Init:0/2|0"),
        (with_init(two.clone(), json!([done, { "name": "b", "restartCount": 2 }])), "0/1|Init:1/2|3"),
        (
            with_init(two.clone(), json!([{ "name": "a", "state": { "waiting": { "reason": "PodInitializing" } } }])),
            "0/1|Init:0/2|0",
        ),
        (
            with_init(two.clone(), json!([{ "name": "a", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }])),
            "0/1|Init:CrashLoopBackOff|0",
        ),
        (
            with_init(two.clone(), json!([{ "name": "a", "state": { "terminated": { "exitCode": 3 } } }])),
            "0/1|Init:ExitCode:3|0",
        ),
        (
            with_init(two.clone(), json!([{ "name": "a", "state": { "terminated": { "signal": 9, "exitCode": 3 } } }])),
            "0/1|Init:Signal:9|0",
        ),
        (
            with_init(two, json!([{ "name": "a", "state": { "terminated": { "exitCode": 3, "reason": "Error" } } }])),
            "0/1|Init:Error|0",
        ),
        // A sidecar counts among the containers, and does not hold up the others.
        (
            with_init(
                side.clone(),
                json!([{ "name": "a", "ready": true, "started": true, "restartCount": 4 }, { "name": "b" }]),
            ),
            "1/2|Init:1/2|4",
        ),
        (
            with_init(
                side,
                json!([{ "name": "a", "ready": true, "started": true, "restartCount": 4 }, { "name": "b", "state": { "terminated": { "exitCode": 0 } }, "restartCount": 1 }]),
            ),
            "1/2|Pending|4",
        ),
    ] {
        assert_eq!(pod_row(obj.clone()), expected, "{obj}");
    }
}

#[test]
fn pods_on_their_way_out() {
    for (phase, reason, expected) in [
        ("Running", "", "0/1|Terminating|0"),
        ("Running", "NodeLost", "0/1|Unknown|0"),
        ("Succeeded", "", "0/1|Succeeded|0"),
    ] {
        let mut obj = pod(1, json!({ "phase": phase, "reason": reason }));
        obj["metadata"] = json!({ "deletionTimestamp": FIVE_MINUTES_AGO });
        assert_eq!(pod_row(obj), expected);
    }
}

#[test]
fn pods_wide() {
    let mut obj = pod(
        1,
        json!({ "phase": "Running", "podIPs": [{ "ip": "10.0.0.7" }], "nominatedNodeName": "m",
        "conditions": [{ "type": "a", "status": "True" }, { "type": "b", "status": "False" }] }),
    );
    obj["spec"]["nodeName"] = "n".into();
    obj["spec"]["readinessGates"] = json!([{ "conditionType": "a" }, { "conditionType": "b" }]);
    assert_eq!(row("", "Pod", obj), "x|0/1|Running|0|60m|10.0.0.7|n|m|1/2");
    assert_eq!(row("", "Pod", pod(1, json!({}))), "x|0/1||0|60m|<none>|<none>|<none>|<none>");
}

#[test]
fn nodes() {
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    check(
        "",
        "Node",
        &[
            (
                json!({ "status": { "conditions": ready } }),
                "x|Ready|<none>|60m||<none>|<none>|<unknown>|<unknown>|<unknown>",
            ),
            (
                json!({ "spec": { "unschedulable": true }, "status": { "conditions": [{ "type": "Ready", "status": "False" }] } }),
                "x|NotReady,SchedulingDisabled|<none>|60m||<none>|<none>|<unknown>|<unknown>|<unknown>",
            ),
            (
                json!({ "metadata": { "labels": { "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/": "", "kubernetes.io/role": "edge",
            "node-role.kubernetes.io/control-plane": "" } },
            "status": { "addresses": [{ "type": "InternalIP", "address": "1.1.1.1" }, { "type": "ExternalIP", "address": "2.2.2.2" }],
            "nodeInfo": { "kubeletVersion": "v1.37.0", "osImage": "Debian", "kernelVersion": "6.1", "architecture": "amd64", "containerRuntimeVersion": "orlop://1" } } }),
                "x|Unknown|control-plane,edge,worker|60m|v1.37.0|1.1.1.1|2.2.2.2|Debian|6.1 (amd64)|orlop://1",
            ),
        ],
    );
}

#[test]
fn services() {
    let ports = json!([{ "port": 80, "protocol": "TCP" }, { "port": 53, "nodePort": 30053, "protocol": "UDP" }]);
    let balanced = json!({ "loadBalancer": { "ingress": [{ "ip": "3.3.3.3" }, { "hostname": "lb" }] } });
    check(
        "",
        "Service",
        &[
            (
                json!({ "spec": { "type": "ClusterIP", "clusterIPs": ["10.96.0.1"], "ports": ports, "selector": { "app": "web" } } }),
                "x|ClusterIP|10.96.0.1|<none>|80/TCP,53:30053/UDP|60m|app=web",
            ),
            (
                json!({ "spec": { "type": "NodePort", "externalIPs": ["1.1.1.1", "2.2.2.2"] } }),
                "x|NodePort|<none>|1.1.1.1,2.2.2.2|<none>|60m|<none>",
            ),
            (json!({ "spec": { "type": "LoadBalancer" } }), "x|LoadBalancer|<none>|<pending>|<none>|60m|<none>"),
            (
                json!({ "spec": { "type": "LoadBalancer", "externalIPs": ["1.1.1.1"] }, "status": balanced }),
                "x|LoadBalancer|<none>|3.3.3.3,lb,1.1.1.1|<none>|60m|<none>",
            ),
            (
                json!({ "spec": { "type": "ExternalName", "externalName": "example.com" } }),
                "x|ExternalName|<none>|example.com|<none>|60m|<none>",
            ),
        ],
    );
}

#[test]
fn workloads() {
    let template = json!({ "spec": { "containers": [{ "name": "a", "image": "i" }, { "name": "b", "image": "j" }] } });
    let selector = json!({ "matchLabels": { "app": "web" }, "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["b", "a"] }] });
    let spec = json!({ "replicas": 5, "template": template, "selector": selector });
    check(
        "apps",
        "Deployment",
        &[
            (
                json!({ "spec": spec, "status": { "readyReplicas": 3, "updatedReplicas": 2, "availableReplicas": 1 } }),
                "x|3/5|2|1|60m|a,b|i,j|app=web,tier in (a,b)",
            ),
            (
                json!({ "spec": { "selector": { "matchExpressions": [{ "key": "a", "operator": "Like" }] } } }),
                "x|0/0|0|0|60m|||<invalid>",
            ),
        ],
    );
    check(
        "apps",
        "ReplicaSet",
        &[(
            json!({ "spec": spec, "status": { "replicas": 5, "readyReplicas": 2 } }),
            "x|5|5|2|60m|a,b|i,j|app=web,tier in (a,b)",
        )],
    );
    check(
        "",
        "ReplicationController",
        &[(
            json!({ "spec": { "replicas": 5, "template": template, "selector": { "a": "1" } }, "status": { "replicas": 4 } }),
            "x|5|4|0|60m|a,b|i,j|a=1",
        )],
    );
    check("apps", "StatefulSet", &[(json!({ "spec": spec, "status": { "readyReplicas": 2 } }), "x|2/5|60m|a,b|i,j")]);
    check(
        "apps",
        "DaemonSet",
        &[(
            json!({ "spec": { "template": { "spec": { "nodeSelector": { "disk": "ssd" }, "containers": [] } }, "selector": {} },
            "status": { "desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3, "updatedNumberScheduled": 2, "numberAvailable": 1 } }),
            "x|5|4|3|2|1|disk=ssd|60m|||<none>",
        )],
    );
    check(
        "apps",
        "ControllerRevision",
        &[
            (json!({ "revision": 7 }), "x|<none>|7|60m"),
            (
                json!({ "revision": 7, "metadata": { "ownerReferences": [{ "kind": "Other" }, { "controller": true, "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d" }] } }),
                "x|daemonset.apps/d|7|60m",
            ),
        ],
    );
}

#[test]
fn jobs() {
    let started = |status: Value| {
        let mut status = status;
        status["startTime"] = FIVE_MINUTES_AGO.into();
        status
    };
    check(
        "batch",
        "Job",
        &[
            (
                json!({ "spec": { "completions": 3 }, "status": started(json!({ "succeeded": 1 })) }),
                "x|Running|1/3|5m|60m|||<none>",
            ),
            (json!({ "spec": { "parallelism": 4 }, "status": {} }), "x|Running|0/1 of 4||60m|||<none>"),
            (
                json!({ "spec": { "parallelism": 1 }, "status": started(json!({ "succeeded": 1, "completionTime": "2025-12-31T23:55:09Z",
            "conditions": [{ "type": "Complete", "status": "True" }] })) }),
                "x|Complete|1/1|9s|60m|||<none>",
            ),
            (
                json!({ "status": { "conditions": [{ "type": "FailureTarget", "status": "True" }, { "type": "Complete", "status": "False" }] } }),
                "x|FailureTarget|0/1||60m|||<none>",
            ),
            (
                json!({ "metadata": { "deletionTimestamp": HOUR_AGO }, "status": { "conditions": [{ "type": "Suspended", "status": "True" }] } }),
                "x|Terminating|0/1||60m|||<none>",
            ),
        ],
    );
    check(
        "batch",
        "CronJob",
        &[
            (
                json!({ "spec": { "schedule": "0/5 * * * ?", "suspend": false, "jobTemplate": { "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": "i" }] } }, "selector": { "matchLabels": { "a": "b" } } } } },
            "status": { "lastScheduleTime": FIVE_MINUTES_AGO, "active": [{}, {}] } }),
                "x|0/5 * * * ?|<none>|False|2|5m|60m|c|i|a=b",
            ),
            (
                json!({ "spec": { "schedule": "@daily", "timeZone": "Europe/Kyiv" } }),
                "x|@daily|Europe/Kyiv|<unset>|0|<none>|60m|||<none>",
            ),
        ],
    );
    check(
        "policy",
        "PodDisruptionBudget",
        &[
            (json!({ "spec": { "minAvailable": 22 }, "status": { "disruptionsAllowed": 5 } }), "x|22|N/A|5|60m"),
            (json!({ "spec": { "maxUnavailable": "30%" } }), "x|N/A|30%|0|60m"),
        ],
    );
}

#[test]
fn autoscalers() {
    let hpa = |metrics: Value, current: Value| {
        json!({ "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "d" }, "minReplicas": 2, "maxReplicas": 10, "metrics": metrics },
        "status": { "currentReplicas": 4, "currentMetrics": current } })
    };
    let cpu = |target: Value| json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]);
    for (obj, targets) in [
        (hpa(json!([]), json!([])), "<none>"),
        (hpa(cpu(json!({ "averageUtilization": 80 })), json!([])), "cpu: <unknown>/80%"),
        (
            hpa(
                cpu(json!({ "averageUtilization": 80 })),
                json!([{ "resource": { "current": { "averageUtilization": 50 } } }]),
            ),
            "cpu: 50%/80%",
        ),
        (
            hpa(
                cpu(json!({ "averageValue": "100m" })),
                json!([{ "resource": { "current": { "averageValue": "50m" } } }]),
            ),
            "cpu: 50m/100m",
        ),
        (hpa(cpu(json!({})), json!([])), "cpu: <unknown>/<auto>"),
        (
            hpa(
                json!([{ "type": "External", "external": { "target": { "averageValue": "100m" } } }]),
                json!([{ "external": { "current": { "averageValue": "50m" } } }]),
            ),
            "50m/100m (avg)",
        ),
        (
            hpa(json!([{ "type": "External", "external": { "target": { "value": "100m" } } }]), json!([])),
            "<unknown>/100m",
        ),
        (
            hpa(
                json!([{ "type": "Pods", "pods": { "target": { "averageValue": "100m" } } }]),
                json!([{ "pods": { "current": { "averageValue": "50m" } } }]),
            ),
            "50m/100m",
        ),
        (
            hpa(
                json!([{ "type": "Object", "object": { "target": { "value": "100m" } } }]),
                json!([{ "object": { "current": { "value": "50m" } } }]),
            ),
            "50m/100m",
        ),
        (
            hpa(
                json!([{ "type": "Pods", "pods": { "target": { "averageValue": "1" } } }, { "type": "ContainerResource", "containerResource": { "name": "memory", "container": "c", "target": { "averageUtilization": 5 } } },
            { "type": "New" }, { "type": "New" }]),
                json!([]),
            ),
            "<unknown>/1, memory: <unknown>/5% + 2 more...",
        ),
    ] {
        assert_eq!(row("autoscaling", "HorizontalPodAutoscaler", obj), format!("x|Deployment/d|{targets}|2|10|4|60m"));
    }
}

#[test]
fn networking() {
    let addresses = |n: usize| (1..=n).map(|i| json!({ "ip": format!("10.0.0.{i}") })).collect::<Value>();
    check(
        "",
        "Endpoints",
        &[
            (json!({}), "x|<none>|60m"),
            (
                json!({ "subsets": [{ "addresses": addresses(2), "ports": [{ "port": 80 }] }] }),
                "x|10.0.0.1:80,10.0.0.2:80|60m",
            ),
            (
                json!({ "subsets": [{ "addresses": addresses(2), "ports": [{ "port": 80 }, { "port": 81 }] }] }),
                "x|10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...|60m",
            ),
            (
                json!({ "subsets": [{ "addresses": [{ "ip": "fd00::1" }], "ports": [{ "port": 80 }] }] }),
                "x|[fd00::1]:80|60m",
            ),
            (json!({ "subsets": [{ "addresses": addresses(1) }] }), "x|10.0.0.1|60m"),
        ],
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        &[
            (json!({ "addressType": "IPv4" }), "x|IPv4|<unset>|<unset>|60m"),
            (
                json!({ "addressType": "IPv4", "ports": [{ "port": 80 }, { "name": "http" }, {}, { "port": 1 }],
            "endpoints": [{ "addresses": ["1.1.1.1", "2.2.2.2"] }, { "addresses": ["3.3.3.3"] }] }),
                "x|IPv4|80,http,* + 1 more...|1.1.1.1,2.2.2.2,3.3.3.3|60m",
            ),
        ],
    );
    check(
        "networking.k8s.io",
        "Ingress",
        &[
            (json!({}), "x|<none>|*||80|60m"),
            (
                json!({ "spec": { "ingressClassName": "c", "tls": [{}], "rules": [{ "host": "a" }, { "host": "b" }, { "host": "c" }, { "host": "d" }, {}] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "2.2.2.2" }, { "ip": "1.1.1.1" }] } } }),
                "x|c|a,b,c + 2 more...|1.1.1.1,2.2.2.2|80, 443|60m",
            ),
        ],
    );
    check(
        "networking.k8s.io",
        "IngressClass",
        &[
            (
                json!({ "metadata": { "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" } }, "spec": { "controller": "example.com/c" } }),
                "x (default)|example.com/c|<none>|60m",
            ),
            (json!({ "spec": { "parameters": { "apiGroup": "g", "kind": "K", "name": "n" } } }), "x||K.g/n|60m"),
        ],
    );
    check(
        "networking.k8s.io",
        "NetworkPolicy",
        &[
            (json!({ "spec": { "podSelector": {} } }), "x|<none>|60m"),
            (json!({ "spec": { "podSelector": { "matchLabels": { "a": "b" } } } }), "x|a=b|60m"),
        ],
    );
    check(
        "networking.k8s.io",
        "IPAddress",
        &[
            (
                json!({ "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": "web" } } }),
                "x|services/default/web|60m",
            ),
            (json!({}), "x|<none>|60m"),
        ],
    );
    check(
        "networking.k8s.io",
        "ServiceCIDR",
        &[(json!({ "spec": { "cidrs": ["10.0.0.0/8", "fd00::/112"] } }), "x|10.0.0.0/8,fd00::/112|60m")],
    );
}

#[test]
fn events() {
    let object = json!({ "kind": "Pod", "name": "web", "fieldPath": "spec.containers{c}" });
    check(
        "",
        "Event",
        &[
            (
                json!({ "firstTimestamp": HOUR_AGO, "lastTimestamp": FIVE_MINUTES_AGO, "count": 6, "type": "Warning", "reason": "BackOff", "message": " again\n",
            "involvedObject": object, "source": { "component": "kubelet", "host": "n" } }),
                "5m|Warning|BackOff|pod/web|spec.containers{c}|kubelet, n|again|60m|6|x",
            ),
            (
                json!({ "eventTime": "2025-12-31T23:55:00.000000Z", "involvedObject": { "kind": "Node" }, "reportingComponent": "c", "reportingInstance": "i" }),
                "5m|||node||c, i||5m|1|x",
            ),
            (
                json!({ "eventTime": "2025-12-31T23:00:00.000000Z", "series": { "count": 9, "lastObservedTime": "2025-12-31T23:55:00.000000Z" }, "involvedObject": {} }),
                "5m|||||||60m|9|x",
            ),
            (json!({}), "<unknown>|||||||<unknown>|1|x"),
        ],
    );
    let shared = by_kind("events.k8s.io", "v1", "Event").expect("served");
    assert_eq!(shared.columns().len(), by_kind("", "v1", "Event").expect("served").columns().len());
}

#[test]
fn storage() {
    check(
        "",
        "PersistentVolume",
        &[
            (
                json!({ "spec": { "capacity": { "storage": "4Gi" }, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": { "namespace": "default", "name": "c" }, "storageClassName": "slow", "volumeMode": "Filesystem" }, "status": { "phase": "Bound" } }),
                "x|4Gi|RWO,RWX|Retain|Bound|default/c|slow|<unset>||60m|Filesystem",
            ),
            (
                json!({ "metadata": { "deletionTimestamp": HOUR_AGO, "annotations": { "volume.beta.kubernetes.io/storage-class": "old" } }, "spec": { "volumeAttributesClassName": "gold" } }),
                "x|0|||Terminating||old|gold||60m|<unset>",
            ),
        ],
    );
    check(
        "",
        "PersistentVolumeClaim",
        &[
            (
                json!({ "spec": { "volumeName": "v", "storageClassName": "s" }, "status": { "phase": "Bound", "accessModes": ["ReadOnlyMany"], "capacity": { "storage": "4Gi" } } }),
                "x|Bound|v|4Gi|ROX|s|<unset>|60m|<unset>",
            ),
            (
                json!({ "status": { "phase": "Pending", "capacity": { "storage": "4Gi" } } }),
                "x|Pending|||||<unset>|60m|<unset>",
            ),
        ],
    );
    check(
        "storage.k8s.io",
        "StorageClass",
        &[
            (json!({ "provisioner": "p" }), "x|p|Delete|Immediate|false|60m"),
            (
                json!({ "metadata": { "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } }, "provisioner": "p", "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true }),
                "x (default)|p|Retain|WaitForFirstConsumer|true|60m",
            ),
        ],
    );
    check(
        "storage.k8s.io",
        "CSIDriver",
        &[
            (json!({ "spec": {} }), "x|true|false|false|<unset>|false|<none>|60m"),
            (
                json!({ "spec": { "attachRequired": false, "tokenRequests": [{ "audience": "a" }, { "audience": "b" }], "volumeLifecycleModes": ["Persistent", "Ephemeral"] } }),
                "x|false|false|false|a,b|false|Persistent,Ephemeral|60m",
            ),
        ],
    );
    check("storage.k8s.io", "CSINode", &[(json!({ "spec": { "drivers": [{}, {}] } }), "x|2|60m")]);
    check("storage.k8s.io", "CSIStorageCapacity", &[(json!({ "storageClassName": "s" }), "x|2025-12-31T23:00:00Z")]);
    check(
        "storage.k8s.io",
        "VolumeAttachment",
        &[(
            json!({ "spec": { "attacher": "a", "source": { "persistentVolumeName": "v" }, "nodeName": "n" }, "status": { "attached": true } }),
            "x|a|v|n|true|60m",
        )],
    );
    check("storage.k8s.io", "VolumeAttributesClass", &[(json!({ "driverName": "d" }), "x|d|60m")]);
}

#[test]
fn access() {
    let binding = json!({ "roleRef": { "kind": "Role", "name": "r" }, "subjects": [{ "kind": "User", "name": "u" }, { "kind": "Group", "name": "g" },
        { "kind": "User", "name": "v" }, { "kind": "ServiceAccount", "namespace": "n", "name": "s" }] });
    check("rbac.authorization.k8s.io", "RoleBinding", &[(binding.clone(), "x|Role/r|60m|u, v|g|n/s")]);
    check("rbac.authorization.k8s.io", "ClusterRoleBinding", &[(binding, "x|Role/r|60m|u, v|g|n/s")]);
    check("rbac.authorization.k8s.io", "ClusterRole", &[(json!({}), "x|2025-12-31T23:00:00Z")]);
    check(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        &[
            (
                json!({ "spec": { "signerName": "s", "username": "u", "expirationSeconds": 3600 } }),
                "x|60m|s|u|60m|Pending",
            ),
            (
                json!({ "status": { "conditions": [{ "type": "Approved" }, { "type": "Failed" }], "certificate": "YQ==" } }),
                "x|60m|<none>||<none>|Approved,Failed,Issued",
            ),
            (
                json!({ "status": { "conditions": [{ "type": "Approved" }, { "type": "Denied" }] } }),
                "x|60m|<none>||<none>|Denied",
            ),
        ],
    );
    check(
        "certificates.k8s.io",
        "PodCertificateRequest",
        &[(
            json!({ "spec": { "podName": "p", "serviceAccountName": "s", "nodeName": "n", "signerName": "g", "unverifiedUserAnnotations": { "a": "b" } }, "status": { "conditions": [{ "type": "Issued" }] } }),
            "x|p|s|n|g|Issued|a=b",
        )],
    );
    check("certificates.k8s.io", "ClusterTrustBundle", &[(json!({}), "x|<none>")]);
}

#[test]
fn configuration() {
    check("", "ConfigMap", &[(json!({ "data": { "a": "1", "b": "2" }, "binaryData": { "c": "" } }), "x|3|60m")]);
    check("", "Secret", &[(json!({ "type": "Opaque", "data": { "a": "" } }), "x|Opaque|1|60m")]);
    check("", "Namespace", &[(json!({ "status": { "phase": "Active" } }), "x|Active|60m")]);
    check("", "ServiceAccount", &[(json!({}), "x|60m")]);
    check("", "LimitRange", &[(json!({}), "x|2025-12-31T23:00:00Z")]);
    check(
        "",
        "PodTemplate",
        &[(
            json!({ "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } }),
            "x|c|i|a=b",
        )],
    );
    check(
        "",
        "ComponentStatus",
        &[
            (json!({}), "x|Unknown||"),
            (json!({ "conditions": [{ "type": "Healthy", "status": "True", "message": "ok" }] }), "x|Healthy|ok|"),
            (json!({ "conditions": [{ "type": "Healthy", "status": "False", "error": "e" }] }), "x|Unhealthy||e"),
        ],
    );
    check(
        "",
        "ResourceQuota",
        &[(
            json!({ "status": { "hard": { "cpu": "1", "limits.cpu": "2", "pods": "10" }, "used": { "pods": "3" } } }),
            "x|cpu: 0/1, pods: 3/10|limits.cpu: 0/2|60m",
        )],
    );
    check("coordination.k8s.io", "Lease", &[(json!({ "spec": { "holderIdentity": "h" } }), "x|h|60m")]);
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        &[(json!({ "value": 7, "globalDefault": true, "preemptionPolicy": "Never" }), "x|7|true|60m|Never")],
    );
    check("node.k8s.io", "RuntimeClass", &[(json!({ "handler": "h" }), "x|h|60m")]);
}

#[test]
fn extensions() {
    check(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &[(
            json!({ "spec": { "scope": "Namespaced", "group": "g", "names": { "kind": "K", "shortNames": ["a", "b"] },
            "versions": [{ "name": "v2", "served": true, "storage": true }, { "name": "v1", "served": true }, { "name": "v0" }] },
            "status": { "conditions": [{ "type": "Established", "status": "True" }] } }),
            "x|Namespaced|v1,v2(storage)|2025-12-31T23:00:00Z|g|K|a,b|true",
        )],
    );
    check(
        "apiregistration.k8s.io",
        "APIService",
        &[
            (
                json!({ "status": { "conditions": [{ "type": "Available", "status": "True", "reason": "Local" }] } }),
                "x|Local|True|60m",
            ),
            (
                json!({ "spec": { "service": { "namespace": "n", "name": "s" } }, "status": { "conditions": [{ "type": "Available", "status": "False", "reason": "MissingEndpoints" }] } }),
                "x|n/s|False (MissingEndpoints)|60m",
            ),
            (json!({}), "x|Local|Unknown|60m"),
        ],
    );
    for (kind, field) in [("ValidatingAdmissionPolicy", "validations"), ("MutatingAdmissionPolicy", "mutations")] {
        check(
            "admissionregistration.k8s.io",
            kind,
            &[
                (
                    json!({ "spec": { field: [{}, {}], "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" } } }),
                    "x|2|v1/ConfigMap|60m",
                ),
                (json!({}), "x|0|<unset>|60m"),
            ],
        );
    }
    check(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        &[
            (json!({ "spec": { "policyName": "p", "paramRef": { "name": "n" } } }), "x|p|*/n|60m"),
            (json!({ "spec": { "policyName": "p", "paramRef": { "name": "n", "namespace": "s" } } }), "x|p|s/n|60m"),
            (
                json!({ "spec": { "policyName": "p", "paramRef": { "selector": { "matchLabels": { "a": "b" } } } } }),
                "x|p|&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}|60m",
            ),
        ],
    );
    check("admissionregistration.k8s.io", "MutatingWebhookConfiguration", &[(json!({ "webhooks": [{}] }), "x|1|60m")]);
    check(
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        &[
            (
                json!({ "spec": { "priorityLevelConfiguration": { "name": "p" }, "matchingPrecedence": 9 } }),
                "x|p|9|<none>|60m|?",
            ),
            (
                json!({ "spec": { "distinguisherMethod": { "type": "ByUser" } }, "status": { "conditions": [{ "type": "Dangling", "status": "False" }] } }),
                "x||0|ByUser|60m|False",
            ),
        ],
    );
    check(
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        &[
            (json!({ "spec": { "type": "Exempt" } }), "x|Exempt|<none>|<none>|<none>|<none>|60m"),
            (
                json!({ "spec": { "type": "Limited", "limited": { "nominalConcurrencyShares": 47, "limitResponse": { "queuing": { "queues": 1, "handSize": 2, "queueLengthLimit": 3 } } } } }),
                "x|Limited|47|1|2|3|60m",
            ),
        ],
    );
    check(
        "storagemigration.k8s.io",
        "StorageVersionMigration",
        &[(
            json!({ "spec": { "resource": { "group": "apps", "resource": "deployments" } }, "status": { "conditions": [{ "type": "Running", "status": "True" }, { "type": "Failed", "status": "False" }] } }),
            "x|deployments.apps|Running",
        )],
    );
    check(
        "resource.k8s.io",
        "ResourceClaim",
        &[
            (json!({}), "x|pending|60m"),
            (
                json!({ "metadata": { "deletionTimestamp": HOUR_AGO }, "status": { "allocation": {}, "reservedFor": [{}] } }),
                "x|deleted,allocated,reserved|60m",
            ),
        ],
    );
    check(
        "resource.k8s.io",
        "ResourceSlice",
        &[(json!({ "spec": { "nodeName": "n", "driver": "d", "pool": { "name": "p" } } }), "x|n|d|p|60m")],
    );
    check(
        "resource.k8s.io",
        "DeviceTaintRule",
        &[(
            json!({ "spec": { "taint": { "key": "k", "effect": "NoExecute", "timeAdded": FIVE_MINUTES_AGO } } }),
            "x|k||NoExecute|5m|60m",
        )],
    );
}
