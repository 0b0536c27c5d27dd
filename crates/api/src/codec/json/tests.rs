use serde_json::{Value, json};

use super::{FieldValidation, decode, normalise, settle};
use crate::schema::{ObjectRef, builtin};

fn schema(api_version: &str, kind: &str) -> ObjectRef {
    builtin().of(api_version, kind).expect("a built-in kind")
}

fn read(kind: (&str, &str), body: &str) -> Result<Value, String> {
    let schema = schema(kind.0, kind.1);
    decode(body.as_bytes(), Some(schema.get()), FieldValidation::Strict).map(|(v, _)| v).map_err(|e| e.message)
}

const POD: (&str, &str) = ("v1", "Pod");
const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");

#[test]
fn an_empty_list_counts_where_upstream_tells_it_from_none() {
    let role = ("rbac.authorization.k8s.io/v1", "Role");
    let definition = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let policy = ("networking.k8s.io/v1", "NetworkPolicy");
    for (kind, body, read_as, kept_as) in [
        (role, json!({ "rules": [] }), json!([]), json!(null)),
        (role, json!({}), json!(null), json!(null)),
        (("v1", "ConfigMap"), json!({ "data": {} }), json!({}), json!("absent")),
        (policy, json!({ "spec": { "podSelector": { "matchLabels": {} } } }), json!({}), json!("absent")),
        (("v1", "Service"), json!({ "status": { "conditions": [] } }), json!("absent"), json!("absent")),
        (definition, json!({ "status": { "storedVersions": [] } }), json!([]), json!([])),
    ] {
        let field = match kind.1 {
            "Role" => "/rules",
            "ConfigMap" => "/data",
            "NetworkPolicy" => "/spec/podSelector/matchLabels",
            "Service" => "/status/conditions",
            _ => "/status/storedVersions",
        };
        let of = |value: &Value| value.pointer(field).cloned().unwrap_or("absent".into());
        let mut value = read(kind, &body.to_string()).unwrap();
        assert_eq!(of(&value), read_as, "{body}");
        settle(&mut value, schema(kind.0, kind.1).get(), kind != definition);
        assert_eq!(of(&value), kept_as, "{body}");
    }
}

#[test]
fn refuses_in_upstreams_words() {
    for (kind, body, want) in [
        (
            DEPLOYMENT,
            r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":"3"}}"#,
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"ports":[{"containerPort":99999999999}]}]}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number 99999999999 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"#,
        ),
        (
            ("apps/v1", "StatefulSet"),
            r#"{"spec":{"volumeClaimTemplates":[{"kind":1}]}}"#,
            r#"StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal number into Go struct field PersistentVolumeClaim.spec.volumeClaimTemplates.TypeMeta.kind of type string"#,
        ),
        (
            POD,
            r#""x""#,
            r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (227822)"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":{}}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"#,
        ),
        (
            POD,
            r#"{"spec":{"restartPolicy":1,"containers":[{"ports":[{"protocol":true}]}]}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"#,
        ),
        (
            POD,
            r#"{"spec":{"volumes":[{"emptyDir":[]}]}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal array into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1x"}}}]}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#,
        ),
        (
            POD,
            r#"{"metadata":{"labels":["a"]},"spec":{"x":1}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"#,
        ),
        (
            POD,
            r#"{"metadata":{"creationTimestamp":"now"}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006""#,
        ),
        (
            POD,
            r#"{"spec":{"foo":1,"containers":[{"name":"a","name":"b","x":{"y":1,"y":2}}]},"bar":null,"metadata":{"labels":{"a":"1","a":"2"}}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo", duplicate field "spec.containers[0].name", unknown field "spec.containers[0].x", unknown field "bar", duplicate field "metadata.labels.a""#,
        ),
        (
            POD,
            r#"{"Spec":{}}"#,
            r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "Spec""#,
        ),
        (
            POD,
            "{",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({)",
        ),
        (
            POD,
            "nonsense",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character 'o' in literal null (expecting 'u') (6e6f6e73656e7365)",
        ),
        (
            POD,
            r#"{"spec":{"containers":[1,]}}"#,
            r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character ']' looking for beginning of value ({"spec":{"containers":[1,]}})"#,
        ),
        (
            ("v1", "Secret"),
            r#"{"data":{"a":"%%%"}}"#,
            r#"Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0"#,
        ),
    ] {
        assert_eq!(read(kind, body).unwrap_err(), want);
    }
}

#[test]
fn warns_or_stays_silent_when_asked() {
    let pod = schema("v1", "Pod");
    let body = br#"{"spec":{"foo":1,"nodeName":"a","nodeName":"b"}}"#;
    let (value, warnings) = decode(body, Some(pod.get()), FieldValidation::Warn).unwrap();
    assert_eq!(warnings, [r#"unknown field "spec.foo""#, r#"duplicate field "spec.nodeName""#]);
    assert_eq!(value["spec"], json!({ "containers": null, "nodeName": "b" }));
    let (same, warnings) = decode(body, Some(pod.get()), FieldValidation::Ignore).unwrap();
    assert_eq!((same, warnings), (value, vec![]));
}

#[test]
fn normalises_like_a_go_round_trip() {
    let mut pod = read(
        POD,
        r#"{
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "creationTimestamp": null, "labels": {}, "generation": 0, "finalizers": []},
            "spec": {
                "hostNetwork": false, "terminationGracePeriodSeconds": 0, "nodeSelector": null,
                "containers": [{
                    "name": "c", "command": [], "env": [{"name": "A", "value": ""}],
                    "resources": {"requests": {"cpu": 0.5, "memory": "1024Ki"}, "limits": {"cpu": 1}},
                    "ports": [{"containerPort": 80, "hostPort": 0}],
                    "livenessProbe": {"httpGet": {"path": "/"}}
                }],
                "volumes": [{"name": "e", "emptyDir": {}}]
            }
        }"#,
    )
    .unwrap();
    settle(&mut pod, schema("v1", "Pod").get(), true);
    assert_eq!(
        pod,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a" },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "c", "env": [{ "name": "A" }],
                    "resources": { "requests": { "cpu": "500m", "memory": "1Mi" }, "limits": { "cpu": "1" } },
                    "ports": [{ "containerPort": 80 }],
                    "livenessProbe": { "httpGet": { "path": "/", "port": 0 } },
                }],
                "volumes": [{ "name": "e", "emptyDir": {} }],
            },
            "status": {},
        })
    );
    let deployment = read(DEPLOYMENT, r#"{"metadata":{"name":"d"}}"#).unwrap();
    let template = json!({ "metadata": {}, "spec": { "containers": null } });
    assert_eq!(
        deployment,
        json!({ "metadata": { "name": "d" }, "spec": { "selector": null, "template": template, "strategy": {} }, "status": {} })
    );
    let service = read(("v1", "Service"), r#"{"spec":{"ports":[{"port":80}]}}"#).unwrap();
    assert_eq!(service["status"], json!({ "loadBalancer": {} }));
    assert_eq!(service["spec"]["ports"][0], json!({ "port": 80, "targetPort": 0 }));
}

#[test]
fn unset_times_are_written_as_null() {
    let event = read(("v1", "Event"), r#"{"involvedObject":{}}"#).unwrap();
    let times = ["eventTime", "firstTimestamp", "lastTimestamp"].map(|field| event.get(field));
    assert_eq!(times, [Some(&Value::Null); 3]);
    assert_eq!(event["metadata"].get("creationTimestamp"), None);
    let lease = read(("coordination.k8s.io/v1", "Lease"), r#"{"spec":{"renewTime":null}}"#).unwrap();
    assert_eq!(lease["spec"].get("renewTime"), None, "a pointer");
}

#[test]
fn keeps_free_json_as_it_is() {
    let crd = read(
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{
            "type":"object","properties":{"a":{"default":{"x":null,"y":[1,2.5]},"nullable":true,"items":{"type":"string","zzz":1}},
            "b":{"additionalProperties":false},"c":{"additionalProperties":{"type":"integer"}},"d":{"enum":[null,"a",{}]}}}}}]}}"#,
    )
    .unwrap();
    let properties = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    assert_eq!(
        *properties,
        json!({
            "a": { "default": { "x": null, "y": [1, 2.5] }, "nullable": true, "items": { "type": "string" } },
            "b": { "additionalProperties": false },
            "c": { "additionalProperties": { "type": "integer" } },
            "d": { "enum": [null, "a", {}] },
        })
    );
}

#[test]
fn normalising_again_changes_nothing() {
    let schema = schema("v1", "Pod");
    let mut pod = json!({
        "metadata": { "name": "a", "labels": {}, "creationTimestamp": "2024-01-01T01:00:00+01:00" },
        "spec": { "containers": [null, { "resources": { "limits": { "cpu": null, "memory": "0.5Gi" } } }], "tolerations": null },
        "unknown": null,
    });
    normalise(&mut pod, schema.get());
    settle(&mut pod, schema.get(), true);
    let want = json!({
        "metadata": { "name": "a", "creationTimestamp": "2024-01-01T00:00:00Z" },
        "spec": { "containers": [
            { "name": "", "resources": {} },
            { "name": "", "resources": { "limits": { "cpu": "0", "memory": "512Mi" } } },
        ] },
        "status": {},
        "unknown": null,
    });
    assert_eq!(pod, want);
    normalise(&mut pod, schema.get());
    assert_eq!(pod, want);
}

#[test]
fn deep_nesting_is_refused() {
    let body = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let error = decode(body.as_bytes(), None, FieldValidation::Strict).unwrap_err();
    assert_eq!(error.message, "couldn't get version/kind; json parse error: exceeded max depth");
}
