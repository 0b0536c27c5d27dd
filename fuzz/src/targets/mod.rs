//! Every target, in the order in which scripts/fuzz takes them.

mod cbor;
mod cel;
mod certificate;
mod cron;
mod image_reference;
mod json;
mod jsonpath;
mod kubeconfig;
mod managed_fields;
mod object;
mod patch;
mod pem;
mod protobuf;
mod quantity;
mod selector;
mod spdy;
mod time;
mod token;
mod websocket;
mod yaml;

use crate::Target;

pub const TARGETS: &[Target] = &[
    json::TARGET,
    yaml::TARGET,
    protobuf::TARGET,
    cbor::TARGET,
    patch::JSON,
    patch::MERGE,
    patch::STRATEGIC,
    managed_fields::TARGET,
    object::TARGET,
    selector::TARGET,
    selector::FIELDS,
    jsonpath::TARGET,
    cel::TARGET,
    quantity::TARGET,
    cron::TARGET,
    time::TARGET,
    pem::TARGET,
    certificate::TARGET,
    kubeconfig::TARGET,
    token::TARGET,
    image_reference::TARGET,
    websocket::TARGET,
    spdy::TARGET,
];

/// A pod with a bit of everything.
const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b","labels":{"x":"y"},
"annotations":{"k":"v"},"creationTimestamp":"2026-01-01T00:00:00Z","finalizers":["example.com/f"],"ownerReferences":
[{"apiVersion":"v1","kind":"Node","name":"n","uid":"u","controller":true}]},"spec":{"containers":[{"name":"c","image":
"i","args":["-x"],"ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"1500m","memory":"1Gi"}},
"livenessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":5},"env":[{"name":"E","value":"\u00e9\ud83d\ude00"}],
"securityContext":{"capabilities":{"add":["NET_ADMIN"]},"runAsUser":0}}],"volumes":[{"name":"v","secret":{"secretName":
"s","items":[{"key":"k","path":"p","mode":420}]}}],"tolerations":[{"operator":"Exists"}],"nodeSelector":{}},"status":{}}"#;
