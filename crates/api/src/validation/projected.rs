//! Volumes of files made from the API: `projected` and `downwardAPI`.

use serde_json::Value;

use super::env::{field_selector, resource_selector};
use super::options::Options;
use super::prelude::*;
use super::selector::label_selector;
use super::volumes::{Taken, items, mode};
use crate::names;
use crate::object_meta::subdomain_rule;

const CONFLICT: &str = "conflicting duplicate paths";

pub(crate) fn downward_api(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    mode(&value["defaultMode"], &path.child("defaultMode"), errors);
    id(&value["defaultUser"], &path.child("defaultUser"), errors);
    for file in value.list("items") {
        downward_file(file, path, errors);
    }
}

const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward_file(file: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    required(file, "path", path, errors);
    non_reserved_path(file.text("path"), &path.child("path"), errors);
    if file.has("fieldRef") {
        field_selector(&file["fieldRef"], FILE_FIELDS, &path.child("fieldRef"), errors);
        if file.has("resourceFieldRef") {
            errors.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if file.has("resourceFieldRef") {
        resource_selector(&file["resourceFieldRef"], &path.child("resourceFieldRef"), true, errors);
    } else {
        errors.required(path, "one of fieldRef and resourceFieldRef is required");
    }
    mode(&file["mode"], &path.child("mode"), errors);
    id(&file["user"], &path.child("user"), errors);
}

pub(crate) fn projected(value: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
    mode(&value["defaultMode"], &path.child("defaultMode"), errors);
    id(&value["defaultUser"], &path.child("defaultUser"), errors);
    let mut taken = Taken::default();
    let sources = path.child("sources");
    for (i, source) in value.list("sources").iter().enumerate() {
        let here = Source { volume: path, at: sources.index(i) };
        here.check(source, &mut taken, options, errors);
    }
}

/// Where one source stands; upstream reports some of its faults at the volume.
struct Source<'p> {
    volume: &'p Path<'p>,
    at: Path<'p>,
}

impl Source<'_> {
    fn check<'v>(&self, source: &'v Value, taken: &mut Taken<'v>, options: &Options, errors: &mut ErrorList) {
        let mut count = 0;
        for field in
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]
        {
            let value = &source[field];
            if value.is_null() {
                continue;
            }
            count += 1;
            let path = self.at.child(field);
            match field {
                "secret" | "configMap" => self.keys(value, &path, taken, errors),
                "downwardAPI" => self.downward(value, &path, taken, errors),
                "serviceAccountToken" => self.token(value, &path, options, errors),
                "clusterTrustBundle" => self.trust_bundle(value, &path, taken, errors),
                _ => self.certificate(value, &path, taken, errors),
            }
        }
        if count > 1 {
            errors.forbidden(&self.at, "may not specify more than 1 volume type per source");
        }
    }

    fn keys<'v>(&self, value: &'v Value, path: &Path<'_>, taken: &mut Taken<'v>, errors: &mut ErrorList) {
        required(value, "name", path, errors);
        items(value, path, errors);
        for file in texts_of(value, "items", "path") {
            if !file.is_empty() && !taken.take(file) {
                errors.invalid(self.volume, value.text("name"), CONFLICT);
            }
        }
    }

    fn downward<'v>(&self, value: &'v Value, path: &Path<'_>, taken: &mut Taken<'v>, errors: &mut ErrorList) {
        for file in value.list("items") {
            downward_file(file, path, errors);
            let name = file.text("path");
            if !name.is_empty() && !taken.take(name) {
                errors.invalid(self.volume, name, CONFLICT);
            }
        }
    }

    fn token(&self, value: &Value, path: &Path<'_>, options: &Options, errors: &mut ErrorList) {
        let at = path.child("expirationSeconds");
        match value["expirationSeconds"].as_i64() {
            None => errors.required(&at, ""),
            Some(n) if n < 600 => errors.invalid(&at, n, "may not specify a duration less than 10 minutes"),
            Some(n) if n > 1 << 32 => errors.invalid(&at, n, "may not specify a duration larger than 2^32 seconds"),
            Some(_) => {}
        }
        let file = value.text("path");
        if file.is_empty() {
            errors.required(&self.volume.child("path"), "");
        } else if !options.allow_non_local_token_path {
            non_reserved_path(file, &self.volume.child("path"), errors);
        }
        id(&value["user"], &path.child("user"), errors);
    }

    fn trust_bundle<'v>(&self, value: &'v Value, path: &Path<'_>, taken: &mut Taken<'v>, errors: &mut ErrorList) {
        let (name, signer) = (value.text("name"), value.text("signerName"));
        match (value.has("name"), value.has("signerName")) {
            (true, true) => errors.invalid(path, value.clone(), "only one of name and signerName may be used"),
            (true, false) => {
                if name.is_empty() {
                    errors.required(&path.child("name"), "must be a valid object name");
                }
                for why in trust_bundle_name(name) {
                    errors.invalid(&path.child("name"), name, format!("not a valid clustertrustbundlename: {why}"));
                }
                if value.has("labelSelector") {
                    let detail = "labelSelector must be unset if name is specified";
                    errors.invalid(&path.child("labelSelector"), value["labelSelector"].clone(), detail);
                }
            }
            (false, true) => {
                if signer.is_empty() {
                    errors.required(&path.child("signerName"), "must be a valid signer name");
                }
                signer_name(signer, &path.child("signerName"), errors);
                label_selector(&value["labelSelector"], false, &path.child("labelSelector"), errors);
            }
            (false, false) => errors.required(path, "either name or signerName must be specified"),
        }
        let file = value.text("path");
        required(value, "path", path, errors);
        id(&value["user"], &path.child("user"), errors);
        non_reserved_path(file, &path.child("path"), errors);
        if !taken.take(file) {
            errors.invalid(self.volume, file, CONFLICT);
        }
    }

    fn certificate<'v>(&self, value: &'v Value, path: &Path<'_>, taken: &mut Taken<'v>, errors: &mut ErrorList) {
        let signer = value.text("signerName");
        signer_name(signer, &path.child("signerName"), errors);
        user_annotations(&value["userAnnotations"], &path.child("userAnnotations"), errors);
        id(&value["user"], &path.child("user"), errors);
        let types = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
        one_of(value.text("keyType"), &types, &path.child("keyType"), errors);
        if let Some(seconds) = value["maxExpirationSeconds"].as_i64() {
            let at = path.child("maxExpirationSeconds");
            if seconds < 3600 {
                errors.invalid(&at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
            }
            let host = signer.split('/').next().unwrap_or_default();
            let of_kubernetes = host == "kubernetes.io" || host.ends_with(".kubernetes.io");
            // A day for the system's own signers, 91 days for others.
            let max = if of_kubernetes { 86_400 } else { 7_862_400 };
            if seconds > max {
                errors.invalid(&at, seconds, format!("if provided, maxExpirationSeconds must be <= {max}"));
            }
        }
        let mut found = false;
        for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
            let file = value.text(field);
            if !file.is_empty() {
                found = true;
                non_reserved_path(file, &path.child(field), errors);
                if !taken.take(file) {
                    errors.invalid(self.volume, file, CONFLICT);
                }
            }
        }
        if !found {
            errors.required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
        }
    }
}

fn texts_of<'v>(value: &'v Value, list: &str, field: &str) -> impl Iterator<Item = &'v str> {
    value.list(list).iter().map(move |item| item[field].as_str().unwrap_or_default())
}

/// What a pod's author tells the signer of its certificate.
pub(super) fn user_annotations(annotations: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        let lower = key.to_lowercase();
        size += key.len() + value.as_str().map_or(0, str::len);
        let problems = names::qualified_name(&lower);
        if lower.is_empty() {
            errors.required(path, "");
        } else if !problems.is_empty() {
            errors.each_invalid(path, &lower, problems);
        } else if !lower.contains('/') {
            errors.invalid(path, lower, "must be a domain-prefixed key (such as \"acme.io/foo\")");
        }
    }
    if size > crate::object_meta::TOTAL_ANNOTATION_SIZE_LIMIT {
        errors.too_long(path, crate::object_meta::TOTAL_ANNOTATION_SIZE_LIMIT);
    }
}

/// `signer.example:path:name`, or a plain name.
fn trust_bundle_name(name: &str) -> Vec<String> {
    match name.rsplit_once(':') {
        Some((_, rest)) => subdomain_rule(rest, false),
        None => subdomain_rule(name, false),
    }
}

/// `example.com/signer-name`
pub(crate) fn signer_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let Some((domain, signer)) = name.split_once('/').filter(|(_, signer)| !signer.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(path, name, detail);
    };
    if domain.len() > names::DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.too_long(path, names::DNS1123_SUBDOMAIN_MAX_LENGTH);
    }
    first_bad_label(domain, names::dns1123_label, path, errors);
    if !domain.contains('.') {
        errors.invalid(path, domain, "should be a domain with at least two segments separated by dots");
    }
    first_bad_label(signer, names::dns1123_subdomain, path, errors);
    // Domain, slash, subdomain, dot, label.
    let max = 2 * names::DNS1123_SUBDOMAIN_MAX_LENGTH + names::DNS1123_LABEL_MAX_LENGTH + 2;
    if name.len() > max {
        errors.too_long(path, max);
    }
}

fn first_bad_label(text: &str, rule: fn(&str) -> Vec<String>, path: &Path<'_>, errors: &mut ErrorList) {
    let bad = text.split('.').map(|label| (label, rule(label))).find(|(_, problems)| !problems.is_empty());
    for (label, why) in bad.into_iter().flat_map(|(label, problems)| problems.into_iter().map(move |p| (label, p))) {
        errors.invalid(path, text, format!("validating label {label:?}: {why}"));
    }
}
