//! What an encryption configuration must keep to
//! (`k8s.io/apiserver/pkg/apis/apiserver/validation/validation_encryption.go`).

use std::collections::BTreeSet;

use orlop_api::field::{ErrorList, Path};
use serde_json::Value;

use super::config::{Block, Configuration, KeyList, KmsConfiguration, ProviderConfiguration};
use super::kms::endpoint;

const AES_SIZES: &[usize] = &[16, 24, 32];
const SECRETBOX_SIZES: &[usize] = &[32];
/// Kept by others, or in another way.
const WITHOUT_API: [&str; 3] = ["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"];

pub fn validate(configuration: &Configuration) -> ErrorList {
    let mut errors = ErrorList::default();
    let root = Path::new("resources");
    if configuration.resources.is_empty() {
        errors.required(&root, "at least one resources is required");
    }
    let mut names = BTreeSet::new();
    for (i, block) in configuration.resources.iter().enumerate() {
        validate_block(block, &root.index(i), &mut names, &mut errors);
    }
    errors
}

fn validate_block<'a>(block: &'a Block, path: &Path<'_>, names: &mut BTreeSet<&'a str>, errors: &mut ErrorList) {
    let (resources, providers) = (path.child("resources"), path.child("providers"));
    if block.resources.is_empty() {
        errors.required(&resources, format!("at least one {resources} is required"));
    }
    validate_overlap(&block.resources, &resources, errors);
    for (i, resource) in block.resources.iter().enumerate() {
        if let Some(why) = bad_resource(resource) {
            errors.invalid(&resources.index(i), resource.as_str(), why);
        }
    }
    if block.providers.is_empty() {
        errors.required(&providers, format!("at least one {providers} is required"));
    }
    for (i, provider) in block.providers.iter().enumerate() {
        validate_provider(provider, &providers.index(i), errors);
        if let Some(kms) = &provider.kms {
            validate_kms(kms, &providers.index(i).child("kms"), names, errors);
            names.insert(&kms.name);
        }
    }
}

/// Resource and group of `deployments.apps`.
fn split(resource: &str) -> (&str, &str) {
    resource.split_once('.').unwrap_or((resource, ""))
}

fn validate_overlap(resources: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    let pairs = || {
        let all = resources.iter().enumerate();
        all.flat_map(|(i, one)| resources[i + 1..].iter().map(move |other| (split(one), split(other))))
    };
    if pairs().any(|(one, other)| one == other) {
        errors.invalid(path, resources.to_vec(), "the same resource cannot be specified multiple times");
    }
    let any = ("*", "*");
    let overlap = |(one, other): ((&str, &str), (&str, &str))| {
        one != other && (one == any || other == any || (one.1 == other.1 && (one.0 == "*" || other.0 == "*")))
    };
    if pairs().any(overlap) {
        let why = "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as \
                   they will be masked";
        errors.invalid(path, resources.to_vec(), why);
    }
}

fn bad_resource(resource: &str) -> Option<&'static str> {
    let (plural, group) = split(resource);
    Some(match (plural, group) {
        _ if resource.to_lowercase() != resource => "resource name should not contain capital letters",
        _ if resource == "*" => {
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
        }
        _ if WITHOUT_API.contains(&resource) => "resources which do not have REST API/s cannot be encrypted",
        (_, "events.k8s.io") => {
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the \
             config file"
        }
        (_, "extensions") => "'extensions' group has been removed and cannot be used for encryption",
        (plural, "*") if plural != "*" => "encrypting the same resource across groups is not supported",
        _ => return None,
    })
}

fn validate_provider(provider: &ProviderConfiguration, path: &Path<'_>, errors: &mut ErrorList) {
    let ProviderConfiguration { aesgcm, aescbc, secretbox, identity, kms } = provider;
    let found = [aesgcm.is_some(), aescbc.is_some(), secretbox.is_some(), identity.is_some(), kms.is_some()];
    match found.into_iter().filter(|there| *there).count() {
        0 => {
            let why = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, \
                       Identity";
            errors.invalid(path, Value::Object(serde_json::Map::default()), why);
        }
        1 => {}
        _ => {
            let why = "more than one provider specified in a single element, should split into different list elements";
            errors.invalid(path, Value::Object(serde_json::Map::default()), why);
        }
    }
    for (name, list, sizes) in
        [("aesgcm", aesgcm, AES_SIZES), ("aescbc", aescbc, AES_SIZES), ("secretbox", secretbox, SECRETBOX_SIZES)]
    {
        if let Some(list) = list {
            validate_keys(list, &path.child(name).child("keys"), sizes, errors);
        }
    }
}

/// `names`: of providers before this one.
fn validate_kms(kms: &KmsConfiguration, path: &Path<'_>, names: &BTreeSet<&str>, errors: &mut ErrorList) {
    let KmsConfiguration { api_version, name, cachesize, endpoint, timeout } = kms;
    let name_path = path.child("name");
    if name.is_empty() {
        errors.required(&name_path, "name is a mandatory field for a provider");
    }
    if api_version != "v1" && name.contains(':') {
        let why = format!("invalid KMS provider name {name}, must not contain ':'");
        errors.invalid(&name_path, name.as_str(), why);
    }
    if api_version != "v1" && names.contains(name.as_str()) {
        let why = format!("duplicate KMS provider name {name}, names must be unique");
        errors.invalid(&name_path, name.as_str(), why);
    }
    if *timeout <= 0 {
        let text = orlop_base::duration::format(*timeout);
        errors.invalid(&path.child("timeout"), text, "timeout should be a positive value");
    }
    validate_endpoint(endpoint, &path.child("endpoint"), errors);
    let cachesize_path = path.child("cachesize");
    match cachesize {
        Some(size) if api_version != "v1" => {
            errors.invalid(&cachesize_path, *size, "cachesize is not supported in v2");
        }
        Some(0) => {
            errors.invalid(&cachesize_path, 0, "cachesize should be a positive value, or negative to disable");
        }
        _ => {}
    }
    if !["v1", "v2"].contains(&api_version.as_str()) {
        let why = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
        errors.invalid(&path.child("apiVersion"), api_version.as_str(), why);
    }
}

fn validate_endpoint(endpoint: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if endpoint.is_empty() {
        return errors.invalid(path, "", "endpoint is a mandatory field for a kms");
    }
    match endpoint::scheme(endpoint) {
        Ok("unix") => {}
        Ok(scheme) => {
            let why = format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported");
            errors.invalid(path, endpoint, why);
        }
        Err(why) => errors.invalid(path, endpoint, format!("invalid endpoint for kms provider, error: {why}")),
    }
}

fn validate_keys(list: &KeyList, path: &Path<'_>, sizes: &[usize], errors: &mut ErrorList) {
    if list.keys.is_empty() {
        errors.required(path, "at least one keys is required");
    }
    for (i, key) in list.keys.iter().enumerate() {
        let path = path.index(i);
        if key.name.is_empty() {
            errors.required(&path.child("name"), "name is a mandatory field for a key");
        }
        let secret = path.child("secret");
        match key.bytes() {
            _ if key.secret.is_empty() => errors.required(&secret, "secret is a mandatory field for a key"),
            None => errors.invalid(&secret, "REDACTED", "secrets must be base64 encoded"),
            Some(bytes) if !sizes.contains(&bytes.len()) => {
                let expected: Vec<String> = sizes.iter().map(usize::to_string).collect();
                let why = format!(
                    "secret is not of the expected length, got {}, expected one of [{}]",
                    bytes.len(),
                    expected.join(" ")
                );
                errors.invalid(&secret, "REDACTED", why);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(resources: Value) -> String {
        validate(&serde_json::from_value(json!({ "resources": resources })).expect("a configuration")).aggregate()
    }

    #[test]
    fn bad_configurations_are_refused_in_upstreams_words() {
        let identity = json!([{"identity": {}}]);
        let rule = |resources: Value| json!([{"resources": resources, "providers": identity}]);
        let kms = |kms: Value| json!([{"resources": ["secrets"], "providers": [{"kms": kms}]}]);
        for (resources, want) in [
            (json!([]), "resources: Required value: at least one resources is required"),
            (
                json!([{"resources": ["secrets"]}]),
                "resources[0].providers: Required value: at least one resources[0].providers is required",
            ),
            (
                rule(json!(["*"])),
                "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API \
                 group or *.* to encrypt all resources",
            ),
            (
                rule(json!(["secrets", "*."])),
                "resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping resources such as \
                 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
            ),
            (
                json!([{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": [{"name": "a", "secret": "YQ=="}]}}]}]),
                "resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the \
                 expected length, got 1, expected one of [16 24 32]",
            ),
            (
                json!([{"resources": ["secrets"], "providers": [{"secretbox": {"keys": [{"secret": "%"}]}}]}]),
                "[resources[0].providers[0].secretbox.keys[0].name: Required value: name is a mandatory field for a \
                 key, resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secrets must be \
                 base64 encoded]",
            ),
            (
                kms(json!({"apiVersion": "v2", "name": "a:b", "endpoint": "tcp://x", "cachesize": 1, "timeout": "0s"})),
                "[resources[0].providers[0].kms.name: Invalid value: \"a:b\": invalid KMS provider name a:b, must not \
                 contain ':', resources[0].providers[0].kms.timeout: Invalid value: \"0s\": timeout should be a positive \
                 value, resources[0].providers[0].kms.endpoint: Invalid value: \"tcp://x\": unsupported scheme \"tcp\" \
                 for KMS provider, only unix is supported, resources[0].providers[0].kms.cachesize: Invalid value: 1: \
                 cachesize is not supported in v2]",
            ),
            (
                kms(json!({"apiVersion": "v3", "name": "a"})),
                "[resources[0].providers[0].kms.endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms, \
                 resources[0].providers[0].kms.apiVersion: Invalid value: \"v3\": unsupported apiVersion apiVersion for \
                 KMS provider, only v1 and v2 are supported]",
            ),
        ] {
            assert_eq!(errors(resources.clone()), want, "{resources}");
        }
        let good = serde_json::from_value(json!({"resources": rule(json!(["secrets", "*.apps", "pods"]))}));
        assert!(validate(&good.expect("a configuration")).is_empty());
    }
}
