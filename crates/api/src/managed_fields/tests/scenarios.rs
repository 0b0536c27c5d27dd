use serde_json::{Value, json};

use super::*;
use crate::managed_fields::scale::Replicas;
use crate::managed_fields::{keep_times_of_noop, manager_name};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default", "labels": { "app": "web" } },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "containers": [{ "name": "nginx", "image": "nginx", "resources": {}, "ports": [{ "containerPort": 80, "protocol": "TCP" }] }],
                    "restartPolicy": "Always", "securityContext": {},
                },
            },
        },
        "status": {},
    })
}

fn config_map(data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "default" }, "data": data })
}

fn live(mut object: Value) -> Value {
    object["metadata"]["uid"] = "u".into();
    object["metadata"]["resourceVersion"] = "1".into();
    object
}

#[test]
fn creation_owns_what_it_set() {
    let object = created("kubectl-create", deployment());
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        entry["fieldsV1"],
        json!({
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": {
                "f:replicas": {}, "f:selector": {},
                "f:strategy": { "f:rollingUpdate": { ".": {}, "f:maxSurge": {}, "f:maxUnavailable": {} }, "f:type": {} },
                "f:template": {
                    "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
                    "f:spec": {
                        "f:containers": { "k:{\"name\":\"nginx\"}": {
                            ".": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                            "f:ports": { ".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {}, "f:protocol": {} } },
                        } },
                        "f:restartPolicy": {}, "f:securityContext": {},
                    },
                },
            },
        })
    );
    assert_eq!(entry["manager"], "kubectl-create");
    assert_eq!(entry["operation"], "Update");
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry["time"], DAWN);
    assert!(entry.get("subresource").is_none());
}

/// Who asks for a claim by name is not in the way of the binder, which completes the reference.
#[test]
fn reference_of_a_volume_to_its_claim_is_owned_by_parts() {
    let config = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "pv" },
        "spec": { "claimRef": { "namespace": "default", "name": "claim" } },
    });
    let object = live(applied("helm", None, &config).unwrap());
    let bound = updated("kube-controller-manager", &object, |new| new["spec"]["claimRef"]["uid"] = "u".into());
    let again = applied("helm", Some(&bound), &config).unwrap();
    assert_eq!(again["spec"]["claimRef"], json!({ "namespace": "default", "name": "claim", "uid": "u" }));
    let parts = json!({ "f:spec": { "f:claimRef": { "f:name": {}, "f:namespace": {} } } });
    assert_eq!(owners(&again)["helm/Apply"], parts);
}

#[test]
fn what_is_empty_all_through_is_nobodys() {
    let spec = json!({ "podSelector": { "matchExpressions": [] }, "policyTypes": ["Ingress"] });
    let policy = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "p" }, "spec": spec });
    assert_eq!(owners(&created("c", policy)), json!({ "c/Update": { "f:spec": { "f:policyTypes": {} } } }));
}

#[test]
fn updates_take_what_they_change() {
    let object = created("a", config_map(json!({ "x": "1", "y": "1", "z": "1" })));
    let object = updated("b", &live(object), |new| new["data"] = json!({ "x": "2", "y": "1", "w": "1" }));
    assert_eq!(
        owners(&object),
        json!({
            "a/Update": { "f:data": { ".": {}, "f:y": {} } },
            "b/Update": { "f:data": { "f:w": {}, "f:x": {} } },
        })
    );
    let times: Vec<&Value> =
        object["metadata"]["managedFields"].as_array().unwrap().iter().map(|e| &e["time"]).collect();
    assert_eq!(times, [DAWN, NOON]);
    // The same writer adds to its entry; what is lost to removal goes without a trace of time.
    let object = updated("a", &object, |new| new["data"] = json!({ "x": "3", "w": "1" }));
    assert_eq!(
        owners(&object),
        json!({ "a/Update": { "f:data": { ".": {}, "f:x": {} } }, "b/Update": { "f:data": { "f:w": {} } } })
    );
    let object = updated("b", &object, |new| {
        new.as_object_mut().unwrap().remove("data");
    });
    assert_eq!(object["metadata"].get("managedFields"), None);
}

#[test]
fn nothing_changed_nothing_moves() {
    let object = live(created("a", config_map(json!({ "x": "1" }))));
    for change in [
        (|_: &mut Value| {}) as fn(&mut Value),
        |new| new["metadata"]["resourceVersion"] = "7".into(),
        |new| new["metadata"]["managedFields"] = json!(null),
        |new| {
            new["metadata"].as_object_mut().unwrap().remove("managedFields");
        },
    ] {
        let after = updated("b", &object, change);
        assert_eq!(after["metadata"]["managedFields"], object["metadata"]["managedFields"]);
    }
}

#[test]
fn clients_may_write_entries_themselves() {
    let object = live(created("a", config_map(json!({ "x": "1" }))));
    let mut entries = object["metadata"]["managedFields"].clone();
    entries[0]["manager"] = "renamed".into();
    let after = updated("b", &object, |new| new["metadata"]["managedFields"] = entries);
    assert_eq!(owners(&after), json!({ "renamed/Update": { "f:data": { ".": {}, "f:x": {} } } }));
    // Unreadable ones count as none at all.
    let after = updated("b", &object, |new| new["metadata"]["managedFields"] = json!([{ "operation": "Guess" }]));
    assert_eq!(owners(&after), owners(&object));
    // An empty list, or one of one empty entry, stops tracking; apply starts it again.
    for reset in [json!([]), json!([{}])] {
        let after = updated("b", &object, |new| new["metadata"]["managedFields"] = reset);
        assert_eq!(after["metadata"].get("managedFields"), None);
        let later = updated("b", &after, |new| new["data"]["x"] = "2".into());
        assert_eq!(later["metadata"].get("managedFields"), None);
        let applied = applied("c", Some(&after), &config_map(json!({ "y": "1" }))).unwrap();
        assert_eq!(
            owners(&applied),
            json!({ "c/Apply": { "f:data": { "f:y": {} } }, "before-first-apply/Update": { "f:data": { ".": {}, "f:x": {} } } })
        );
    }
}

#[test]
fn status_and_spec_have_their_own_doors() {
    let object = live(created("a", deployment()));
    let mut new = object.clone();
    new["status"] = json!({ "replicas": 1, "conditions": [{ "type": "Available", "status": "True" }] });
    new["spec"]["replicas"] = 5.into();
    let status = FieldManager { subresource: "status", ..manager(&object, "controller", NOON) };
    status.on_update(Some(&object), &mut new);
    assert_eq!(
        owners(&new)["controller/Update/status"],
        json!({ "f:status": {
            "f:conditions": { ".": {}, "k:{\"type\":\"Available\"}": {
                // The times are there: null.
                ".": {}, "f:lastTransitionTime": {}, "f:lastUpdateTime": {}, "f:status": {}, "f:type": {},
            } },
            "f:replicas": {},
        } })
    );
    assert_eq!(owners(&new)["a/Update"], owners(&object)["a/Update"]);
    // What the main resource says of status is not heard.
    let mut main = object.clone();
    main["status"] = json!({ "replicas": 9 });
    manager(&object, "b", NOON).on_update(Some(&object), &mut main);
    assert_eq!(owners(&main), owners(&object));
}

#[test]
fn a_debugger_owns_what_it_sent() {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    let object = live(created("a", pod));
    let mut new = object.clone();
    new["spec"]["ephemeralContainers"] = json!([{ "name": "debug", "image": "busybox" }]);
    new["spec"]["containers"][0]["image"] = "j".into();
    let debugger = FieldManager { subresource: "ephemeralcontainers", ..manager(&object, "kubectl-debug", NOON) };
    debugger.on_patch(&object, &mut new);
    assert_eq!(
        owners(&new)["kubectl-debug/Update/ephemeralcontainers"],
        json!({ "f:spec": {
            "f:containers": { "k:{\"name\":\"c\"}": { "f:image": {} } },
            "f:ephemeralContainers": { ".": {}, "k:{\"name\":\"debug\"}": { ".": {}, "f:image": {}, "f:name": {} } },
        } })
    );
}

#[test]
fn applying_creates_and_follows() {
    let config = config_map(json!({ "x": "1", "y": "1" }));
    let object = applied("a", None, &config).unwrap();
    assert_eq!(bare(&object), config);
    assert_eq!(owners(&object), json!({ "a/Apply": { "f:data": { "f:x": {}, "f:y": {} } } }));
    assert_eq!(object["metadata"]["managedFields"][0]["time"], DUSK);
    // What is left out goes, what is new comes.
    let object = applied("a", Some(&live(object)), &config_map(json!({ "y": "2", "z": "1" }))).unwrap();
    assert_eq!(object["data"], json!({ "y": "2", "z": "1" }));
    assert_eq!(owners(&object), json!({ "a/Apply": { "f:data": { "f:y": {}, "f:z": {} } } }));
    // All of it.
    let object = applied("a", Some(&object), &config_map(json!({}))).unwrap();
    assert_eq!(object.get("data"), None);
}

#[test]
fn conflicts_name_everyone() {
    let object = live(created("a", config_map(json!({ "x": "1", "y": "1" }))));
    let error = applied("b", Some(&object), &config_map(json!({ "x": "2" }))).unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_str(), error.message.as_str()),
        (409, "Conflict", "Apply failed with 1 conflict: conflict with \"a\" using v1: .data.x")
    );
    assert_eq!(
        error.details.as_deref(),
        Some(
            &json!({ "causes": [{ "reason": "FieldManagerConflict", "message": "conflict with \"a\" using v1", "field": ".data.x" }] })
        )
    );
    let object = forced("b", &object, &config_map(json!({ "x": "2" })));
    let error = applied("c", Some(&object), &config_map(json!({ "x": "3", "y": "3" }))).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"a\" using v1:\n- .data.y\nconflicts with \"b\":\n- .data.x"
    );
}

#[test]
fn force_takes_and_agreement_shares() {
    let object = live(applied("a", None, &config_map(json!({ "x": "1", "y": "1" }))).unwrap());
    // Saying the same is no conflict: both own it. Nothing changed, so the new entry has no time.
    let shared = applied("b", Some(&object), &config_map(json!({ "x": "1" }))).unwrap();
    assert_eq!(
        owners(&shared),
        json!({ "a/Apply": { "f:data": { "f:x": {}, "f:y": {} } }, "b/Apply": { "f:data": { "f:x": {} } } })
    );
    assert_eq!(bare(&shared), bare(&object));
    // What one lets go stays as long as the other has it.
    let kept = applied("a", Some(&shared), &config_map(json!({ "y": "1" }))).unwrap();
    assert_eq!(kept["data"], json!({ "x": "1", "y": "1" }));
    let gone = applied("b", Some(&kept), &config_map(json!({}))).unwrap();
    assert_eq!(gone["data"], json!({ "y": "1" }));
    let taken = forced("c", &shared, &config_map(json!({ "x": "9" })));
    assert_eq!(taken["data"]["x"], "9");
    assert_eq!(
        owners(&taken),
        json!({ "a/Apply": { "f:data": { "f:y": {} } }, "c/Apply": { "f:data": { "f:x": {} } } })
    );
}

#[test]
fn applied_fields_lost_to_an_update_come_back_with_force_only() {
    let object = live(applied("a", None, &config_map(json!({ "x": "1" }))).unwrap());
    let object = updated("b", &object, |new| new["data"]["x"] = "2".into());
    assert_eq!(owners(&object), json!({ "b/Update": { "f:data": { "f:x": {} } } }));
    assert!(applied("a", Some(&object), &config_map(json!({ "x": "1" }))).is_err());
    assert_eq!(forced("a", &object, &config_map(json!({ "x": "1" })))["data"]["x"], "1");
}

#[test]
fn replicas_left_to_the_autoscaler() {
    let mut config = deployment();
    config["spec"]["replicas"] = 3.into();
    config.as_object_mut().unwrap().remove("status");
    let object = live(applied("user", None, &config).unwrap());
    let object = updated("autoscaler", &object, |new| new["spec"]["replicas"] = 9.into());
    let error = applied("user", Some(&object), &config).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"autoscaler\" using apps/v1: .spec.replicas"
    );
    config["spec"].as_object_mut().unwrap().remove("replicas");
    let object = applied("user", Some(&object), &config).unwrap();
    assert_eq!(object["spec"]["replicas"], 9);
}

#[test]
fn what_does_not_fit_is_refused() {
    let cases = [
        (json!({ "kind": "Secret" }), 400, "invalid object type: /v1, Kind=Secret"),
        (
            json!({ "metadata": { "name": "c", "namespace": "default", "managedFields": [] } }),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            json!({ "date": {} }),
            500,
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .date: field not declared in schema",
        ),
        (
            json!({ "data": "x" }),
            500,
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .data: expected map, got &{x}",
        ),
        (
            json!({ "data": { "x": 1, "y": true } }),
            500,
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): errors:\n  .data.x: expected string, got &value.valueUnstructured{Value:1}\n  .data.y: expected string, got &value.valueUnstructured{Value:true}",
        ),
        (
            json!({ "immutable": "x" }),
            500,
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .immutable: expected boolean, got &{x}",
        ),
    ];
    for (change, code, message) in cases {
        let mut config = config_map(json!({}));
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let manager = FieldManager {
            kind: kind_of(&config_map(json!({}))),
            version: "v1",
            subresource: "",
            manager: "m",
            now: DAWN,
        };
        let error = manager.on_apply(None, &config, false).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (code, message));
    }
    let mut config = deployment();
    config["spec"]["template"]["spec"]["containers"] = json!([{ "name": "a" }, { "name": "a" }]);
    let error = applied("m", None, &config).unwrap_err();
    assert_eq!(
        error.message,
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name=\"a\"]"
    );
}

#[test]
fn applied_values_are_read_as_if_they_had_been_sent() {
    let pod = |cpu: &str, port: Value| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "n" }, "spec": { "containers": [{
            "name": "c", "resources": { "limits": { "cpu": cpu } },
            "livenessProbe": { "tcpSocket": { "port": port } },
        }] } })
    };
    let object = applied("a", None, &pod("1000m", 80.into())).unwrap();
    assert_eq!(object["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
    assert_eq!(object["status"], json!({}));
    let refused = |config: &Value| applied("a", None, config).unwrap_err().message;
    let why = "failed to convert new object (n/p; /v1, Kind=Pod) to proper version: unable to convert unstructured object to /v1, Kind=Pod: ";
    assert_eq!(
        refused(&pod("much", 80.into())),
        format!("{why}quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    );
    assert!(refused(&pod("1", json!([]))).starts_with(&format!("{why}json: cannot unmarshal array into Go ")));
}

#[test]
fn who_applied_a_map_owns_it_emptied() {
    let map = created("a", config_map(json!({})));
    let object = applied("b", Some(&live(map)), &config_map(json!({ "x": "1" }))).unwrap();
    let object = applied("c", Some(&live(object)), &config_map(json!({}))).unwrap();
    let mut config = config_map(json!({}));
    config.as_object_mut().unwrap().remove("data");
    let object = applied("b", Some(&live(object)), &config).unwrap();
    assert_eq!(object.get("data"), None);
    assert_eq!(owners(&object), json!({ "c/Apply": { "f:data": {} } }));
}

#[test]
fn a_missing_protocol_is_tcp() {
    let service = |ports: Value| json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" }, "spec": { "ports": ports } });
    let object = live(applied("a", None, &service(json!([{ "port": 80 }]))).unwrap());
    assert_eq!(
        owners(&object)["a/Apply"]["f:spec"]["f:ports"],
        json!({ "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } })
    );
    let object = updated("defaults", &object, |new| new["spec"]["ports"][0]["protocol"] = "TCP".into());
    let object = applied("a", Some(&object), &service(json!([{ "port": 80, "name": "http" }]))).unwrap();
    assert_eq!(object["spec"]["ports"], json!([{ "port": 80, "name": "http", "protocol": "TCP", "targetPort": 0 }]));
}

#[test]
fn kubectl_moves_from_client_side_apply() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let last = config_map(json!({ "x": "1", "y": "1" }));
    let mut client_side = last.clone();
    client_side["metadata"]["annotations"] = json!({ ANNOTATION: format!("{last}\n") });
    let object = live(created("kubectl-client-side-apply", client_side));
    // Its own old values are excused, and the annotation follows.
    let config = config_map(json!({ "x": "2", "y": "1" }));
    let moved = applied("kubectl", Some(&object), &config).unwrap();
    assert_eq!(moved["data"]["x"], "2");
    let annotation = moved["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    assert_eq!(annotation, format!("{config}\n"));
    // Others are not.
    let object = updated("other", &object, |new| new["data"]["y"] = "9".into());
    let error = applied("kubectl", Some(&object), &config).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"other\" using v1: .data.y");
    let error = applied("somebody", Some(&live(moved)), &config_map(json!({ "x": "3" }))).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"kubectl\": .data.x");
}

#[test]
fn eleven_updaters_are_one_too_many() {
    let mut object = live(created("m00", config_map(json!({ "k00": "0" }))));
    for i in 1..=11 {
        let (name, key) = (format!("m{i:02}"), format!("k{i:02}"));
        let now = format!("2026-01-02T00:00:{i:02}Z");
        let mut new = object.clone();
        new["data"][&key] = "1".into();
        FieldManager { now: &now, ..manager(&object, &name, NOON) }.on_update(Some(&object), &mut new);
        object = new;
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let names: Vec<&str> = entries.iter().map(|e| e["manager"].as_str().unwrap()).collect();
    assert_eq!(names, ["ancient-changes", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11"]);
    assert_eq!(entries[0]["fieldsV1"], json!({ "f:data": { ".": {}, "f:k00": {}, "f:k01": {}, "f:k02": {} } }));
    assert_eq!(entries[0]["time"], "2026-01-02T00:00:02Z");
}

#[test]
fn managers_are_heard_in_their_own_version() {
    let v1 = json!({ "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
        "spec": { "maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": { "kind": "Deployment", "name": "d" } } });
    let object = live(applied("old", None, &v1).unwrap());
    let kind = kind_of(&object);
    // The store keeps v2; someone changes the target there.
    let mut stored = object.clone();
    kind.convert(&mut stored, "v1", "v2");
    let stored = updated("new", &stored, |new| {
        new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = 70.into();
    });
    assert_eq!(owners(&stored)["old/Apply"], json!({ "f:spec": { "f:maxReplicas": {}, "f:scaleTargetRef": {} } }));
    assert_eq!(owners(&stored)["new/Update"], json!({ "f:spec": { "f:metrics": {} } }));
    // The old applier, asked in its version, is in conflict about the field as it knows it.
    let error = applied("old", Some(&stored), &v1).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"new\" using autoscaling/v2: .spec.metrics"
    );
    let mut less = v1.clone();
    less["spec"].as_object_mut().unwrap().remove("targetCPUUtilizationPercentage");
    let after = applied("old", Some(&stored), &less).unwrap();
    assert_eq!(after["apiVersion"], "autoscaling/v1");
    assert_eq!(after["spec"]["targetCPUUtilizationPercentage"], 70);
}

#[test]
fn events_of_both_groups_share_their_entries() {
    let event = json!({ "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e", "namespace": "n" },
        "involvedObject": { "kind": "Pod" }, "message": "hi", "count": 1 });
    let stored = live(created("a", event));
    let mut new = stored.clone();
    new["message"] = "ho".into();
    let events = crate::kinds::by_kind("events.k8s.io", "v1", "Event").unwrap();
    let manager = FieldManager { kind: events, version: "v1", subresource: "", manager: "b", now: NOON };
    manager.on_update(Some(&stored), &mut new);
    assert_eq!(owners(&new)["b/Update"], json!({ "f:note": {} }));
    assert_eq!(owners(&new)["a/Update"], json!({ "f:count": {}, "f:involvedObject": {} }));
}

#[test]
fn scale_has_a_share_of_the_parent() {
    let replicas = Replicas { paths: &[("apps/v1", "spec.replicas")], api_version: "apps/v1" };
    let entry = |manager: &str, operation: &str, version: &str, fields: Value| json!({ "manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields, "time": DAWN });
    let parent = json!([
        entry("user", "Apply", "apps/v1", json!({ "f:spec": { "f:replicas": {}, "f:selector": {} } })),
        entry("writer", "Update", "apps/v1", json!({ "f:spec": { "f:replicas": {} }, "f:status": {} })),
        entry("other", "Update", "apps/v1", json!({ "f:status": {} })),
        entry("gone", "Update", "extensions/v1beta1", json!({ "f:spec": { "f:replicas": {} } })),
    ]);
    let only = json!({ "f:spec": { "f:replicas": {} } });
    let scale = replicas.to_scale(&parent).unwrap();
    assert_eq!(
        scale,
        json!([
            entry("user", "Apply", "autoscaling/v1", only.clone()),
            entry("writer", "Update", "autoscaling/v1", only.clone())
        ])
    );
    // The applier keeps its share, the writer lost it to a scaler.
    let mut scaler = entry("scaler", "Update", "autoscaling/v1", only.clone());
    scaler["subresource"] = "scale".into();
    let after = replicas.to_parent(&parent, &json!([scale[0], scaler])).unwrap();
    let mut taken = entry("scaler", "Update", "apps/v1", only);
    taken["subresource"] = "scale".into();
    assert_eq!(
        after,
        json!([
            parent[0],
            entry("other", "Update", "apps/v1", json!({ "f:status": {} })),
            taken,
            entry("writer", "Update", "apps/v1", json!({ "f:status": {} })),
        ])
    );
}

#[test]
fn times_alone_are_no_change() {
    let object = live(created("a", config_map(json!({ "x": "1" }))));
    let mut new = object.clone();
    new["metadata"]["managedFields"][0]["time"] = DUSK.into();
    keep_times_of_noop(&object, &mut new);
    assert_eq!(new, object);
    new["metadata"]["managedFields"][0]["time"] = DUSK.into();
    new["data"]["x"] = "2".into();
    let before = new.clone();
    keep_times_of_noop(&object, &mut new);
    assert_eq!(new, before);
}

#[test]
fn managers_take_their_name_from_the_request() {
    assert_eq!(manager_name("me", "kubectl/v1.37.0 (linux/amd64)"), "me");
    assert_eq!(manager_name("", "kubectl/v1.37.0 (linux/amd64)"), "kubectl");
    assert_eq!(manager_name("", &"x".repeat(200)).len(), 128);
    let object = created("", config_map(json!({ "x": "1" })));
    assert_eq!(object["metadata"]["managedFields"][0]["manager"], "unknown");
}

#[test]
fn a_field_may_be_owned_by_parts_though_its_type_is_whole() {
    let volume = json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "v" },
        "spec": { "claimRef": { "name": "c" } } });
    let owned = &owners(&created("a", volume))["a/Update"]["f:spec"]["f:claimRef"];
    assert_eq!(*owned, json!({ ".": {}, "f:name": {} }));
}

#[test]
fn an_empty_list_is_owned_only_where_it_is_written() {
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {}, "rules": [] });
    assert_eq!(owners(&created("a", role)), json!({ "a/Update": { "f:rules": {} } }));
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {} });
    assert_eq!(owners(&created("a", map)), json!({}));
}
