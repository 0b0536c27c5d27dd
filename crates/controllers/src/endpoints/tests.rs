use orlop_client::engine::{Controller, Plan};
use serde_json::{Value, json};

use super::{endpoint_slices, endpoints};
use crate::common::fixture::{body, decide_view, objects};

/// A Service with one named port, two pods on one node, and what tells of them.
pub const CONVERGED: &str = "
kind: Service
metadata: {name: web, labels: {team: a}}
spec:
  clusterIP: 10.96.0.9
  ipFamilies: [IPv4]
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: www, protocol: TCP}]
---
kind: Node
metadata: {name: node, labels: {topology.kubernetes.io/zone: z}}
---
kind: Pod
metadata: {name: p1, labels: {app: web}}
spec: {nodeName: node, containers: [{name: c, ports: [{name: www, containerPort: 8080, protocol: TCP}]}]}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-01-01T01:00:00Z'}]}
---
kind: Pod
metadata: {name: p2, labels: {app: web}}
spec: {nodeName: node, containers: [{name: c, ports: [{name: www, containerPort: 8080, protocol: TCP}]}]}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}], conditions: [{type: Ready, status: 'False', lastTransitionTime: '2026-01-01T02:00:00Z'}]}
";

pub const SLICE: &str = "
---
kind: EndpointSlice
metadata:
  name: web-x
  labels: {team: a, kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}
  ownerReferences: [{apiVersion: v1, kind: Service, name: web, uid: web, controller: true}]
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true, serving: true, terminating: false}, nodeName: node, zone: z, targetRef: {kind: Pod, namespace: d, name: p1, uid: p1}}
- {addresses: [10.0.0.2], conditions: {ready: false, serving: false, terminating: false}, nodeName: node, zone: z, targetRef: {kind: Pod, namespace: d, name: p2, uid: p2}}
";

pub const OBJECT: &str = "
---
kind: Endpoints
metadata: {name: web, labels: {team: a, endpoints.kubernetes.io/managed-by: endpoint-controller}}
subsets:
- addresses: [{ip: 10.0.0.1, nodeName: node, targetRef: {kind: Pod, namespace: d, name: p1, uid: p1}}]
  notReadyAddresses: [{ip: 10.0.0.2, nodeName: node, targetRef: {kind: Pod, namespace: d, name: p2, uid: p2}}]
  ports: [{name: http, port: 8080, protocol: TCP}]
";

/// Service, node, pods, then whatever `more` adds; changed by hand.
fn world(more: &str, change: impl FnOnce(&mut Vec<Value>)) -> Vec<Value> {
    let mut all = objects(&format!("{CONVERGED}{more}"));
    change(&mut all);
    all
}

fn plan_of(controller: &Controller, all: &[Value]) -> Plan {
    let read = |o: &&Value| controller.sources.iter().any(|s| s.resource().kind == o["kind"].as_str().unwrap());
    let all: Vec<Value> = all.iter().filter(read).cloned().collect();
    decide_view(controller, "d/web", &controller.view_of(&all))
}

fn slices(all: &[Value]) -> Plan {
    plan_of(&endpoint_slices(), all)
}

fn object(all: &[Value]) -> Plan {
    plan_of(&endpoints(), all)
}

fn addresses(slice: &Value) -> Vec<&str> {
    slice["endpoints"].as_array().unwrap().iter().map(|e| e["addresses"][0].as_str().unwrap()).collect()
}

#[test]
fn nothing_to_do_when_all_is_told() {
    assert!(slices(&world(SLICE, |_| {})).is_converged());
    assert!(object(&world(OBJECT, |_| {})).is_converged());
}

#[test]
fn a_first_slice_tells_everything() {
    let plan = slices(&world("", |_| {}));
    assert_eq!(plan.lines(), ["create endpointslices d/web-*"]);
    let slice = body(&plan, "create endpointslices d/web-*");
    assert_eq!(addresses(&slice), ["10.0.0.1", "10.0.0.2"]);
    let want = json!({
        "addresses": ["10.0.0.1"], "nodeName": "node", "zone": "z",
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "targetRef": { "kind": "Pod", "namespace": "d", "name": "p1", "uid": "p1" },
    });
    assert_eq!(slice["endpoints"][0], want);
    assert_eq!(slice["ports"], json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]));
    let labels = json!({
        "team": "a", "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    });
    assert_eq!(slice["metadata"]["labels"], labels);
    let trigger = &slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"];
    assert_eq!(trigger, "2026-01-01T00:00:00Z");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "web");
}

#[test]
fn conditions_follow_the_pod() {
    for (terminating, publish, conditions) in [
        (false, true, json!({ "ready": true, "serving": false, "terminating": false })),
        (true, false, json!({ "ready": false, "serving": false, "terminating": true })),
    ] {
        let all = world(SLICE, |all| {
            all[0]["spec"]["publishNotReadyAddresses"] = publish.into();
            if terminating {
                all[3]["metadata"]["deletionTimestamp"] = "2026-01-01T03:00:00Z".into();
            }
        });
        let slice = body(&slices(&all), "update endpointslices d/web-x");
        assert_eq!(slice["endpoints"][1]["conditions"], conditions);
        let trigger = &slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"];
        assert_eq!(trigger, "2026-01-01T02:00:00Z");
    }
}

#[test]
fn finished_homeless_and_addressless_pods_are_left_out() {
    type Change = fn(&mut Vec<Value>);
    let changes: [Change; 3] = [
        |all| all[3]["status"]["phase"] = "Succeeded".into(),
        |all| all[3]["spec"]["nodeName"] = "gone".into(),
        |all| {
            all[3]["status"]["podIP"] = "".into();
            all[3]["status"]["podIPs"] = json!([]);
        },
    ];
    for change in changes {
        let slice = body(&slices(&world(SLICE, change)), "update endpointslices d/web-x");
        assert_eq!(addresses(&slice), ["10.0.0.1"]);
    }
}

#[test]
fn every_family_has_slices_of_its_own() {
    let plan = slices(&world(SLICE, |all| all[0]["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"])));
    let slice = body(&plan, "create endpointslices d/web-*");
    assert_eq!((&slice["addressType"], addresses(&slice)), (&json!("IPv6"), vec!["fd00::1"]));
    let plan = slices(&world(SLICE, |all| all[0]["spec"]["ipFamilies"] = json!(["IPv6"])));
    assert_eq!(plan.lines(), ["create endpointslices d/web-*", "delete endpointslices d/web-x"]);
}

#[test]
fn pods_with_other_port_numbers_have_slices_of_their_own() {
    let all = world(SLICE, |all| all[3]["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090.into());
    let plan = slices(&all);
    assert_eq!(plan.lines(), ["create endpointslices d/web-*", "update endpointslices d/web-x"]);
    assert_eq!(body(&plan, "create endpointslices d/web-*")["ports"][0]["port"], 9090);
    assert_eq!(addresses(&body(&plan, "update endpointslices d/web-x")), ["10.0.0.1"]);
}

#[test]
fn a_service_without_pods_has_an_empty_slice() {
    let all = world(SLICE, |all| all.retain(|o| o["kind"] != "Pod"));
    let plan = slices(&all);
    let slice = body(&plan, "update endpointslices d/web-x");
    assert_eq!((&slice["endpoints"], &slice["ports"]), (&json!([]), &json!([])));
    let mut done = world("", |all| all.retain(|o| o["kind"] != "Pod"));
    done.push(slice);
    assert!(slices(&done).is_converged());
}

#[test]
fn labels_follow_the_service_and_mark_headless_ones() {
    let all = world(SLICE, |all| {
        all[0]["metadata"]["labels"] = json!({ "team": "b", "service.kubernetes.io/headless": "forged" });
        all[0]["spec"]["clusterIP"] = "None".into();
    });
    let labels = body(&slices(&all), "update endpointslices d/web-x")["metadata"]["labels"].clone();
    assert_eq!((&labels["team"], &labels["service.kubernetes.io/headless"]), (&json!("b"), &json!("")));
}

#[test]
fn others_slices_are_not_touched_and_impostors_removed() {
    let foreign = SLICE.replace("endpointslice-controller.k8s.io", "somebody.else").replace("web-x", "web-y");
    assert!(slices(&world(&format!("{SLICE}{foreign}"), |_| {})).is_converged());
    let impostor = SLICE.replace("uid: web,", "uid: old,").replace("web-x", "web-y");
    let plan = slices(&world(&format!("{SLICE}{impostor}"), |_| {}));
    assert_eq!(plan.lines(), ["delete endpointslices d/web-y"]);
}

#[test]
fn services_without_selector_or_with_another_name_are_left_alone() {
    type Change = fn(&mut Vec<Value>);
    let changes: [Change; 2] =
        [|all| all[0]["spec"]["selector"] = Value::Null, |all| all[0]["spec"]["type"] = "ExternalName".into()];
    for change in changes {
        assert!(slices(&world("", change)).is_converged());
        assert!(object(&world("", change)).is_converged());
    }
}

#[test]
fn host_names_are_for_pods_of_the_services_subdomain() {
    let all = world(SLICE, |all| {
        all[2]["spec"]["hostname"] = "db-0".into();
        all[2]["spec"]["subdomain"] = "web".into();
        all[3]["spec"]["hostname"] = "db-1".into();
        all[3]["spec"]["subdomain"] = "other".into();
    });
    let slice = body(&slices(&all), "update endpointslices d/web-x");
    let names: Vec<_> = slice["endpoints"].as_array().unwrap().iter().map(|e| e["hostname"].clone()).collect();
    assert_eq!(names, [json!(null), json!("db-0")]);
    let object = body(
        &object(&world(OBJECT, |all| {
            all[2]["spec"]["hostname"] = "db-0".into();
            all[2]["spec"]["subdomain"] = "web".into();
        })),
        "update endpoints d/web",
    );
    assert_eq!(object["subsets"][0]["addresses"][0]["hostname"], "db-0");
}

/// `count` ready pods more than the two.
fn crowd(count: usize, more: &str) -> Vec<Value> {
    world(more, |all| {
        for n in 0..count {
            let mut pod = all[2].clone();
            let (name, ip) = (format!("q{n:04}"), format!("10.1.{}.{}", n / 250, n % 250 + 1));
            pod["metadata"]["name"] = name.clone().into();
            pod["metadata"]["uid"] = name.into();
            pod["status"]["podIP"] = ip.clone().into();
            pod["status"]["podIPs"] = json!([{ "ip": ip }]);
            all.push(pod);
        }
    })
}

#[test]
fn slices_are_filled_to_a_hundred_and_few_of_them_change() {
    let plan = slices(&crowd(248, ""));
    let sizes: Vec<usize> = plan.writes().map(|w| addresses(&w.body()).len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    // Carry it out, then add one pod: it goes where it fills best.
    let mut all = crowd(249, "");
    for (n, write) in plan.writes().enumerate() {
        let mut slice = write.body();
        slice["metadata"]["name"] = format!("web-{n}").into();
        slice["metadata"]["uid"] = format!("web-{n}").into();
        slice["metadata"]["resourceVersion"] = "1".into();
        all.push(slice);
    }
    let plan = slices(&all);
    assert_eq!(plan.lines(), ["update endpointslices d/web-2"]);
    assert_eq!(addresses(&body(&plan, "update endpointslices d/web-2")).len(), 51);
    // One of a full slice goes: only that slice changes.
    let gone = all.iter().position(|o| o["metadata"]["name"] == "q0003").unwrap();
    all.remove(gone);
    all.retain(|o| o["metadata"]["name"] != "q0248");
    let plan = slices(&all);
    let sizes: Vec<usize> = plan.writes().map(|w| addresses(&w.body()).len()).collect();
    assert_eq!(sizes, [99]);
}

#[test]
fn the_whole_object_tells_the_same() {
    let plan = object(&world("", |_| {}));
    assert_eq!(plan.lines(), ["create endpoints d/web"]);
    let made = body(&plan, "create endpoints d/web");
    let want = objects(OBJECT.trim_start_matches("\n---")).remove(0);
    assert_eq!(made["subsets"], want["subsets"]);
    assert_eq!(made["metadata"]["labels"], want["metadata"]["labels"]);
}

#[test]
fn ports_with_the_same_addresses_share_a_subset() {
    let all = world("", |all| {
        all[0]["spec"]["ports"] = json!([
            { "name": "http", "port": 80, "targetPort": "www", "protocol": "TCP" },
            { "name": "fixed", "port": 81, "targetPort": 81, "protocol": "UDP" },
        ]);
        all[3]["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090.into();
    });
    let subsets = body(&object(&all), "create endpoints d/web")["subsets"].clone();
    let shown: Vec<String> = subsets
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let count = |field: &str| s[field].as_array().map_or(0, Vec::len);
            let ports: Vec<_> = s["ports"].as_array().unwrap().iter().map(|p| p["port"].to_string()).collect();
            format!("{}+{} {}", count("addresses"), count("notReadyAddresses"), ports.join(","))
        })
        .collect();
    assert_eq!(shown, ["1+0 8080", "1+1 81", "0+1 9090"]);
}

#[test]
fn headless_services_need_no_ports() {
    let all = world("", |all| {
        all[0]["spec"]["clusterIP"] = "None".into();
        all[0]["spec"]["ports"] = Value::Null;
    });
    let made = body(&object(&all), "create endpoints d/web");
    assert_eq!(made["subsets"][0]["ports"], json!(null));
    assert_eq!(made["subsets"][0]["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(made["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    let slice = body(&slices(&all), "create endpointslices d/web-*");
    assert_eq!((slice["ports"].clone(), addresses(&slice).len()), (json!([]), 2));
}

#[test]
fn too_many_addresses_are_cut_and_marked_once() {
    let all = crowd(1200, "");
    let made = body(&object(&all), "create endpoints d/web");
    assert_eq!(made["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"], "truncated");
    let subset = &made["subsets"][0];
    assert_eq!((subset["addresses"].as_array().unwrap().len(), &subset["notReadyAddresses"]), (1000, &json!(null)));
    let mut again = all;
    let mut stored = made;
    stored["metadata"]["uid"] = "e".into();
    again.push(stored);
    assert!(object(&again).is_converged());
}

#[test]
fn what_a_deleted_service_left_is_removed() {
    let left = |labels: &str| {
        let text = format!("kind: Endpoints\nmetadata: {{name: web, labels: {labels}}}\n");
        objects(&text)
    };
    let controller = endpoints();
    let at = |key: &str, all: &[Value]| decide_view(&controller, key, &controller.view_of(all)).lines();
    let (ours, theirs) = (left("{endpoints.kubernetes.io/managed-by: endpoint-controller}"), left("{}"));
    assert_eq!(at("d/web", &ours), ["delete endpoints d/web"]);
    assert!(at("d/web", &theirs).is_empty());
    assert_eq!(at("d/web/deleted", &theirs), ["delete endpoints d/web"]);
}
