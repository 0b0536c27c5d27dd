//! How webhooks are reached (`k8s.io/apiserver/pkg/util/webhook/validation.go`).

use serde_json::Value;

use super::prelude::*;
use crate::names;

const NO_CREDENTIALS: &str = "user information is not permitted in the URL";

/// An https URL without credentials, fragment or query.
pub(crate) fn url(url: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let form = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // A text without a scheme is a path for upstream.
    let host = if scheme.is_empty() { "" } else { rest.split(['/', '?', '#']).next().unwrap_or_default() };
    if scheme != "https" {
        errors.invalid(path, scheme, format!("'https' is the only allowed URL scheme{form}"));
    }
    if host.is_empty() {
        errors.invalid(path, host, format!("host must be specified{form}"));
    }
    if host.contains('@') {
        errors.invalid(path, host.split('@').next().unwrap_or_default(), NO_CREDENTIALS);
    }
    if let Some((_, fragment)) = rest.split_once('#') {
        errors.invalid(path, fragment, "fragments are not permitted in the URL");
    }
    if let Some((_, query)) = rest.split_once('?') {
        errors.invalid(path, query, "query parameters are not permitted in the URL");
    }
}

/// A Service, by name, with a path of its own.
pub(crate) fn service(service: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    // Upstream hands the two over in the wrong order and so blames the other.
    for (field, blamed) in [("namespace", "name"), ("name", "namespace")] {
        if service.text(field).is_empty() {
            errors.required(&path.child(blamed), "");
        }
    }
    let port = service.at("port").as_i64().unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let why = format!("port is not valid: {}", between(1, 65535));
        errors.invalid(&path.child("port"), port, why);
    }
    let Some(text) = service.at("path").as_str() else { return };
    let path = path.child("path");
    if text.is_empty() || text == "/" {
        return;
    }
    if !text.starts_with('/') {
        errors.invalid(&path, text, "must start with a '/'");
    }
    // Without what should be the slash.
    let rest = text.char_indices().nth(1).map_or("", |(at, _)| &text[at..]);
    for (i, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&path, text, format!("segment[{i}] may not be empty"));
            continue;
        }
        for broken in names::dns1123_subdomain(step) {
            errors.invalid(&path, text, format!("segment[{i}]: {broken}"));
        }
    }
}

/// Versions of the review a webhook understands, one of them `known`.
pub(crate) fn review_versions(versions: &[Value], known: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    if versions.is_empty() {
        return errors.required(path, "");
    }
    for (i, version) in versions.iter().enumerate() {
        let text = version.as_str().unwrap_or_default();
        if versions[..i].contains(version) {
            errors.invalid(&path.index(i), text, "duplicate version");
            continue;
        }
        errors.each_invalid(&path.index(i), text, names::dns1035_label(text));
    }
    if !versions.iter().any(|version| known.iter().any(|known| version == known)) {
        let why = format!("must include at least one of {}", known.join(", "));
        errors.invalid(path, versions.to_vec(), why);
    }
}
