//! CertificateSigningRequests and ClusterTrustBundles. What X.509 says is read by the server; here, PEM.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::prelude::*;
use super::projected::{signer_name, user_annotations};
use crate::names;
use crate::object_meta::{path_segment_rule, subdomain_rule};
use crate::pem;

const MAX_UID: usize = 128;
const MIN_EXPIRATION: i64 = 3600;
/// Of certificates by signers of Kubernetes' own, and by others.
const MAX_OWN_EXPIRATION: i64 = 24 * 3600;
const MAX_EXPIRATION: i64 = 91 * 24 * 3600;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const CONDITION: &str = "status.conditions";

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(text).unwrap_or_default()).into_owned()
}

pub(crate) fn request(obj: &Value, errors: &mut ErrorList) {
    checked_request(obj, &Value::Null, errors);
}

fn checked_request(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, false, path_segment_rule, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let text = decoded(spec.text("request"));
    if pem::blocks(&text).next().is_none_or(|block| block.label != "CERTIFICATE REQUEST") {
        let detail = "PEM block type must be CERTIFICATE REQUEST";
        errors.invalid(&path.child("request"), spec["request"].clone(), detail);
    }
    usages(spec, &path.child("usages"), errors);
    let (signer, at) = (spec.text("signerName"), path.child("signerName"));
    if signer == LEGACY_SIGNER && old.text("spec.signerName") != LEGACY_SIGNER {
        errors.invalid(&at, signer, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(signer, &at, errors);
    }
    if let Some(seconds) = spec["expirationSeconds"].as_i64().filter(|seconds| *seconds < 600) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&path.child("expirationSeconds"), seconds, detail);
    }
    conditions(obj, errors);
    issued(obj.text("status.certificate"), errors);
}

fn usages(spec: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let list = spec.list("usages");
    if list.is_empty() {
        errors.required(path, "");
    }
    for (i, usage) in texts(spec, "usages").enumerate() {
        one_of(usage, USAGES, &path.index(i), errors);
    }
    for (i, usage) in list.iter().enumerate().filter(|(i, usage)| list[..*i].contains(usage)) {
        errors.duplicate(&path.index(i), usage.clone());
    }
}

fn conditions(obj: &Value, errors: &mut ErrorList) {
    let (list, path) = (obj.list(CONDITION), Path::new(CONDITION));
    for (i, condition) in list.iter().enumerate() {
        let (path, ty) = (path.index(i), condition.text("type"));
        required(condition, "type", &path, errors);
        let allowed: &[&str] =
            if matches!(ty, "Approved" | "Denied" | "Failed") { &["True"] } else { &["False", "True", "Unknown"] };
        match condition.text("status") {
            "" => errors.required(&path.child("status"), ""),
            status => one_of(status, allowed, &path.child("status"), errors),
        }
        if list[..i].iter().any(|other| other.text("type") == ty) {
            errors.duplicate(&path.child("type"), ty);
        }
    }
    let has = |ty: &str| list.iter().any(|condition| condition["type"] == ty);
    if has("Approved") && has("Denied") {
        let last = list.iter().map(|c| c.text("type")).rfind(|ty| matches!(*ty, "Approved" | "Denied"));
        let detail = "Approved and Denied conditions are mutually exclusive";
        errors.invalid(&path, last.unwrap_or_default(), detail);
    }
}

fn issued(certificate: &str, errors: &mut ErrorList) {
    if certificate.is_empty() {
        return;
    }
    let text = decoded(certificate);
    let blocks: Vec<pem::Block<'_>> = pem::blocks(&text).collect();
    let why = match blocks.iter().find(|block| block.label != "CERTIFICATE" || block.has_headers) {
        Some(block) if block.label != "CERTIFICATE" => {
            format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label)
        }
        Some(_) => "no PEM block headers are permitted".to_owned(),
        None if blocks.is_empty() => "must contain at least one CERTIFICATE PEM block".to_owned(),
        None => return,
    };
    errors.invalid(&Path::new("status.certificate"), "<certificate data>", why);
}

pub(crate) fn request_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    changed_request(obj, old, "", errors);
}

pub(crate) fn request_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    changed_request(obj, old, "status", errors);
}

pub(crate) fn request_approval(obj: &Value, old: &Value, errors: &mut ErrorList) {
    changed_request(obj, old, "approval", errors);
}

fn changed_request(obj: &Value, old: &Value, through: &str, errors: &mut ErrorList) {
    checked_request(obj, old, errors);
    let path = Path::new(CONDITION);
    let count = |obj: &Value, ty: &str| obj.list(CONDITION).iter().filter(|c| c["type"] == ty).count();
    for ty in ["Approved", "Denied", "Failed"] {
        if count(obj, ty) < count(old, ty) {
            errors.forbidden(&path, format!("updates may not remove a condition of type {ty:?}"));
        }
    }
    for ty in ["Approved", "Denied"] {
        if through != "approval" && count(obj, ty) > count(old, ty) {
            errors.forbidden(&path, format!("updates may not add a condition of type {ty:?}"));
        }
    }
    let (new, was) = (obj.text("status.certificate"), old.text("status.certificate"));
    if new != was {
        let path = Path::new("status.certificate");
        if through != "status" {
            errors.forbidden(&path, "updates may not set certificate content");
        } else if !was.is_empty() {
            errors.forbidden(&path, "updates may not modify existing certificate content");
        }
    }
    metadata_update(obj, old, errors);
}

const MAX_BUNDLE_SIZE: usize = 1024 * 1024;

pub(crate) fn bundle(obj: &Value, errors: &mut ErrorList) {
    checked_bundle(obj, true, errors);
}

pub(crate) fn bundle_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    checked_bundle(obj, obj.text("spec.trustBundle") != old.text("spec.trustBundle"), errors);
    metadata_update(obj, old, errors);
    immutable_text(obj.at("spec.signerName"), old.at("spec.signerName"), &Path::new("spec.signerName"), errors);
}

/// A PodCertificateRequest. That its key is one, and that the pod has it, the signer checks.
pub(crate) fn pod_request(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    let (spec, path) = (&obj["spec"], Path::new("spec"));
    let signer = spec.text("signerName");
    signer_name(signer, &path.child("signerName"), errors);
    let at = path.child("unverifiedUserAnnotations");
    user_annotations(&spec["unverifiedUserAnnotations"], &at, errors);
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        errors.each_invalid(&path.child(name), spec.text(name), subdomain_rule(spec.text(name), false));
        let (uid, at) = (spec.text(uid), path.child(uid));
        if uid.is_empty() {
            errors.invalid(&at, "", "must not be empty");
        }
        if uid.len() > MAX_UID {
            errors.too_long(&at, MAX_UID);
        }
    }
    let at = path.child("maxExpirationSeconds");
    let Some(seconds) = spec["maxExpirationSeconds"].as_i64() else { return errors.required(&at, "must be set") };
    let max = if signer.starts_with("kubernetes.io/") { MAX_OWN_EXPIRATION } else { MAX_EXPIRATION };
    if !(MIN_EXPIRATION..=max).contains(&seconds) {
        errors.invalid(&at, seconds, format!("must be in the range [{MIN_EXPIRATION}, {max}]"));
    }
    let [request, key, proof] =
        ["stubPKCS10Request", "pkixPublicKey", "proofOfPossession"].map(|field| !spec.text(field).is_empty());
    if !matches!((request, key, proof), (true, false, false) | (false, true, true)) {
        let detail = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set";
        errors.shown(ErrorType::Invalid, &path, detail, "");
    }
}

pub(crate) fn pod_request_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    immutable(&obj["spec"], &old["spec"], &Path::new("spec"), errors);
}

fn checked_bundle(obj: &Value, parse: bool, errors: &mut ErrorList) {
    let signer = obj.text("spec.signerName");
    // The rule for names hangs on the signer, which a plain function cannot know.
    metadata(obj, false, |_, _| Vec::new(), errors);
    let name = crate::meta::name(obj);
    if !name.is_empty() {
        errors.each_invalid(&Path::new("metadata.name"), name, bundle_name(name, signer));
    }
    if !signer.is_empty() {
        signer_name(signer, &Path::new("spec.signerName"), errors);
    }
    if parse {
        anchors(obj.text("spec.trustBundle"), errors);
    }
}

fn bundle_name(name: &str, signer: &str) -> Vec<String> {
    if signer.is_empty() {
        let unsigned = || vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()];
        return if name.contains(':') { unsigned() } else { names::dns1123_subdomain(name) };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => subdomain_rule(rest, false),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}

fn anchors(text: &str, errors: &mut ErrorList) {
    let path = Path::new("spec.trustBundle");
    if text.len() > MAX_BUNDLE_SIZE {
        return errors.too_long(&path, MAX_BUNDLE_SIZE);
    }
    let mut problems = Vec::new();
    let mut places: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for (i, block) in pem::blocks(text).enumerate() {
        if block.label != "CERTIFICATE" {
            problems.push(format!("entry {i} has bad block type: {}", block.label));
        } else if block.has_headers {
            problems.push(format!("entry {i} has PEM block headers"));
        } else {
            places.entry(block.bytes).or_default().push(i.to_string());
        }
    }
    if problems.is_empty() {
        if places.is_empty() {
            problems.push("at least one trust anchor must be provided".to_owned());
        }
        let twice = places.values().filter(|indices| indices.len() > 1);
        problems.extend(twice.map(|indices| format!("duplicate trust anchor (indices [{}])", indices.join(" "))));
    }
    for problem in problems {
        errors.invalid(&path, "<value omitted>", problem);
    }
}

/// What a `kubernetes.io/tls` Secret's pair is warned of, as Go's `tls.X509KeyPair` reads it.
pub(crate) fn pair_warning(certificate: &str, key: &str) -> Option<String> {
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    let (certificate, key) = (decoded(certificate), decoded(key));
    let labels: Vec<&str> = pem::blocks(&certificate).map(|block| block.label).collect();
    let why = match labels.as_slice() {
        [] => "failed to find any PEM data in certificate input".to_owned(),
        labels if labels.contains(&"CERTIFICATE") => return key_warning(&key, is_key),
        [only] if only.ends_with("PRIVATE KEY") => {
            "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been \
             switched"
                .to_owned()
        }
        skipped => format!(
            "failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following \
             types: [{}]",
            skipped.join(" ")
        ),
    };
    Some(format!("tls: {why}"))
}

fn key_warning(key: &str, is_key: fn(&str) -> bool) -> Option<String> {
    let labels: Vec<&str> = pem::blocks(key).map(|block| block.label).collect();
    let why = match labels.as_slice() {
        [] => "failed to find any PEM data in key input".to_owned(),
        labels if labels.iter().any(|label| is_key(label)) => return None,
        ["CERTIFICATE"] => "found a certificate rather than a key in the PEM for the private key".to_owned(),
        skipped => format!(
            "failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the \
             following types: [{}]",
            skipped.join(" ")
        ),
    };
    Some(format!("tls: {why}"))
}

pub(crate) fn secret_warnings(obj: &Value, _: Option<&Value>) -> Vec<String> {
    if obj.text("type") != "kubernetes.io/tls" {
        return Vec::new();
    }
    let data = |key: &str| obj["data"][key].as_str().unwrap_or_default();
    pair_warning(data("tls.crt"), data("tls.key")).into_iter().collect()
}
