//! Pod templates: when two are the same, and the name of one.

use orlop_api::equality;
use orlop_api::typed::k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use orlop_base::id::safe_encode;

/// Tells the pods of one Deployment's sets apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Longest DNS subdomain.
const MAX_NAME_BYTES: usize = 253;

/// Whether a set was made from this template: the same but for the hash label.
pub fn same(set: Option<&PodTemplateSpec>, wanted: &PodTemplateSpec) -> bool {
    let Some(set) = set else { return false };
    if !same_metadata(set, wanted) {
        return false;
    }
    if set.spec == wanted.spec {
        return true;
    }
    if images(set) != images(wanted) {
        return false;
    }
    // The same thing may be written in several ways (nothing as null or as an empty list).
    let value = |spec: &Option<PodSpec>| serde_json::to_value(spec).unwrap_or_default();
    equality::same(&value(&set.spec), &value(&wanted.spec))
}

fn same_metadata(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let labels = |t: &PodTemplateSpec| {
        let all = t.metadata.iter().flat_map(|m| m.labels.iter().flatten());
        all.filter(|(key, _)| *key != HASH_LABEL).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
    };
    let rest = |t: &PodTemplateSpec| {
        let meta = t.metadata.clone().unwrap_or_default();
        (meta.annotations.unwrap_or_default(), meta.finalizers.unwrap_or_default(), meta.name, meta.generate_name)
    };
    labels(a) == labels(b) && rest(a) == rest(b)
}

/// What rollouts change most: tells most templates apart at once.
fn images(template: &PodTemplateSpec) -> Vec<(&str, Option<&str>)> {
    let containers = template.spec.iter().flat_map(|s| &s.containers);
    containers.map(|c| (c.name.as_str(), c.image.as_deref())).collect()
}

/// Stable over restarts and different for different templates; `collisions` makes another one when
/// the name is taken. Same alphabet and about the same length as upstream's.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut text = serde_json::to_value(template).unwrap_or_default().to_string().into_bytes();
    if let Some(count) = collisions {
        text.extend_from_slice(&count.to_le_bytes());
    }
    safe_encode(&fnv1a(&text).to_string())
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// `deployment-hash`, cut to fit.
pub fn set_name(deployment: &str, hash: &str) -> String {
    let room = MAX_NAME_BYTES - 1 - hash.len();
    // Names are ASCII.
    format!("{}-{hash}", deployment.get(..room).unwrap_or(deployment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn templates_are_compared_without_the_hash() {
        let spec = json!({ "containers": [{ "name": "c", "image": "i" }] });
        let plain = template(json!({ "metadata": { "labels": { "a": "b" } }, "spec": spec }));
        let hashed = template(json!({ "metadata": { "labels": { "a": "b", HASH_LABEL: "x" } }, "spec": spec }));
        let empty_list = template(json!({
            "metadata": { "labels": { "a": "b" } },
            "spec": { "containers": [{ "name": "c", "image": "i", "args": [] }] },
        }));
        let other = template(json!({ "metadata": { "labels": { "a": "c" } }, "spec": spec }));
        assert!(same(Some(&hashed), &plain));
        assert!(same(Some(&empty_list), &plain));
        assert!(!same(Some(&other), &plain));
        assert!(!same(None, &plain));
    }

    #[test]
    fn hashes_differ_and_stay() {
        let a = template(json!({ "spec": { "containers": [{ "name": "c", "image": "i" }] } }));
        let hashes = [hash(&a, None), hash(&a, Some(1)), hash(&template(json!({})), None)];
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
        assert_eq!(hashes[0], hash(&a.clone(), None));
        assert!(hashes.iter().all(|h| h.len() <= 10 && h.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))));
        assert_eq!(set_name(&"d".repeat(253), "abc").len(), 253);
    }
}
