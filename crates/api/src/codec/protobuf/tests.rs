use serde_json::json;

use super::{Envelope, ProtobufError, decode, encode, encode_list, encode_message, encode_watch_event, message_of};
use crate::schema::builtin;
use crate::status::StatusError;

/// Bytes written by hand from the `.proto` files.
#[test]
fn writes_and_reads_the_envelope() {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": "v" } });
    let schema = builtin().of("v1", "ConfigMap").unwrap();
    let metadata: Vec<u8> = [
        b"\x0a\x01a".as_slice(), // name
        b"\x12\x00",             // generateName
        b"\x1a\x00",             // namespace
        b"\x22\x00",             // selfLink
        b"\x2a\x00",             // uid
        b"\x32\x00",             // resourceVersion
        b"\x38\x00",             // generation
        b"\x42\x00",             // creationTimestamp, unset
    ]
    .concat();
    let message = [&[0x0a, metadata.len() as u8], metadata.as_slice(), b"\x12\x06\x0a\x01k\x12\x01v"].concat();
    let want = [
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap".as_slice(),
        &[0x12, message.len() as u8],
        &message,
        b"\x1a\x00\x22\x00",
    ]
    .concat();
    assert_eq!(encode(&object, schema.get()), want);
    assert_eq!(decode(&want).unwrap(), ("v1".to_owned(), "ConfigMap".to_owned(), object.clone()));
    assert_eq!(message_of(&want), Some(message.as_slice()));

    let list =
        encode_list("v1", "ConfigMapList", &json!({ "resourceVersion": "7" }), [message.as_slice(); 2].into_iter());
    let (api_version, kind, list) = decode(&list).unwrap();
    let item = json!({ "metadata": { "name": "a" }, "data": { "k": "v" } });
    assert_eq!((api_version.as_str(), kind.as_str()), ("v1", "ConfigMapList"));
    assert_eq!(list["metadata"], json!({ "resourceVersion": "7" }));
    assert_eq!(list["items"], json!([item, item]));

    let frame = encode_watch_event("ADDED", &want);
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(length, frame.len() - 4);
    let event = super::decode_message(&frame[4..], builtin().of("v1", "WatchEvent").unwrap().get()).unwrap();
    assert_eq!(event, json!({ "type": "ADDED", "object": object }));
}

/// Nobody could read it again once it is text.
#[test]
fn a_time_of_no_year_is_refused() {
    // metadata: creationTimestamp: seconds: i64::MAX
    let message = [b"\x0a\x0c\x42\x0a\x08".as_slice(), &[0xff; 8], b"\x7f"].concat();
    let refused = super::decode_message(&message, builtin().of("v1", "ConfigMap").unwrap().get()).unwrap_err();
    let why = format!("the year of {} s is out of range", i64::MAX);
    assert_eq!(refused, ProtobufError::Content { field: "creationTimestamp".to_owned(), why }.into());
}

/// Every special rule of the wire, there and back.
#[test]
fn round_trips_special_types() {
    for object in [
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "p", "creationTimestamp": "2024-01-02T03:04:05Z",
                "managedFields": [{ "manager": "m", "time": "2024-01-02T03:04:05Z", "fieldsV1": { "f:spec": {} } }],
            },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "c",
                    "resources": { "limits": { "cpu": "100m", "memory": "1Gi" } },
                    "livenessProbe": { "httpGet": { "path": "/", "port": "http" }, "periodSeconds": 3 },
                    "env": [{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "n", "key": "k" } } }],
                }],
                "ephemeralContainers": [{ "name": "e", "resources": {}, "targetContainerName": "c" }],
                "volumes": [{ "name": "v", "configMap": { "name": "n", "optional": false } }],
            },
            "status": {},
        }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "a": "AAEC/w==", "empty": "" } }),
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" },
            "spec": { "renewTime": "2024-01-02T03:04:05.123456Z", "leaseDurationSeconds": -40 },
        }),
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {},
            "status": { "authenticated": true, "user": { "username": "u", "extra": { "k": ["a", "b"] } } },
        }),
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "x" },
            "spec": { "group": "g", "names": { "plural": "xs", "kind": "X" }, "scope": "Namespaced", "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "a": { "additionalProperties": false, "default": { "n": null } },
                    "b": { "additionalProperties": { "type": "string" }, "enum": ["x", 1] },
                    "c": { "items": { "type": "number", "minimum": 1.5 } },
                } } },
            }] },
            "status": { "acceptedNames": { "plural": "", "kind": "" } },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {},
            "spec": { "matchConstraints": { "resourceRules": [{
                "resourceNames": ["n"], "operations": ["CREATE"], "apiGroups": ["g"], "resources": ["r"], "scope": "*",
            }] } },
            "status": {},
        }),
    ] {
        let schema = builtin().of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let (.., decoded) = decode(&encode(&object, schema.get())).unwrap();
        let mut want = object.clone();
        crate::codec::json::normalise(&mut want, schema.get());
        crate::codec::json::settle(&mut want, schema.get(), true);
        assert_eq!(decoded, want);
    }
}

#[test]
fn refuses_what_is_no_message() {
    for (bytes, want) in [
        (b"".as_slice(), ProtobufError::Empty),
        (b"{}", ProtobufError::NoMagic),
        (b"k8s\0\x0a\x05", ProtobufError::UnexpectedEnd),
        (b"k8s\0\x0f", ProtobufError::WrongWireType { field: "1".into(), wire_type: 7 }),
        (b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ProtobufError::Overflow),
        (b"k8s\0\x08\x01", ProtobufError::WrongWireType { field: "typeMeta".into(), wire_type: 0 }),
    ] {
        assert_eq!(Envelope::parse(bytes).unwrap_err(), want);
    }
    let unknown = super::envelope("v1", "Nothing", b"");
    let error = decode(&unknown).unwrap_err();
    assert_eq!(
        error,
        StatusError::from(ProtobufError::UnknownKind { api_version: "v1".into(), kind: "Nothing".into() })
    );
    let pod = builtin().of("v1", "Pod").unwrap();
    let truncated = encode_message(&json!({ "metadata": { "name": "abc" } }), pod.get());
    assert!(super::decode_message(&truncated[..truncated.len() - 1], pod.get()).is_err());
}
