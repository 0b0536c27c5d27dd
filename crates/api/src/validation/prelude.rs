//! Small rules that many subjects share, and what every file here reads and writes with, in one `use`.

use serde_json::Value;

pub(crate) use crate::field::{ErrorList, ErrorType, Path};
pub(crate) use crate::kinds::read::Read;
use crate::names;
use crate::object_meta::{self, NameRule};

pub(crate) const IMMUTABLE: &str = "field is immutable";
pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Metadata of a new object, and of a changed one where upstream checks all of it again.
pub(crate) fn metadata(obj: &Value, namespaced: bool, rule: NameRule, errors: &mut ErrorList) {
    errors.extend(object_meta::validate(obj, namespaced, rule));
    kube_finalizers(obj, errors);
}

/// Metadata of a changed object against what is stored.
pub(crate) fn metadata_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    errors.extend(object_meta::validate_update(obj, old));
    kube_finalizers(obj, errors);
}

fn kube_finalizers(obj: &Value, errors: &mut ErrorList) {
    let path = Path::new("metadata.finalizers");
    for (i, finalizer) in obj.list("metadata.finalizers").iter().enumerate() {
        kube_finalizer(finalizer.as_str().unwrap_or_default(), &path.index(i), errors);
    }
}

/// A finalizer without a domain must be one of the system's own.
pub(crate) fn kube_finalizer(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        errors.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

pub(crate) fn non_negative(value: i64, path: &Path<'_>, errors: &mut ErrorList) {
    if value < 0 {
        errors.invalid(path, value, NOT_NEGATIVE);
    }
}

pub(crate) fn positive(value: i64, path: &Path<'_>, errors: &mut ErrorList) {
    if value <= 0 {
        errors.invalid(path, value, "must be greater than zero");
    }
}

pub(crate) fn between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

pub(crate) fn in_range(value: i64, low: i64, high: i64, path: &Path<'_>, errors: &mut ErrorList) {
    if !(low..=high).contains(&value) {
        errors.invalid(path, value, between(low, high));
    }
}

/// A field that must stay as it was; `new` is what the error shows.
pub(crate) fn immutable(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !crate::equality::same(new, old) {
        errors.invalid(path, new.clone(), IMMUTABLE);
    }
}

/// The same for a string that Go keeps without a pointer: unset, it is shown as empty.
pub(crate) fn immutable_text(new: &Value, old: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !crate::equality::same(new, old) {
        errors.invalid(path, new.as_str().unwrap_or_default(), IMMUTABLE);
    }
}

/// A string field that must not be empty.
pub(crate) fn required(obj: &Value, field: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if obj.text(field).is_empty() {
        errors.required(&path.child(field), "");
    }
}

/// One of a closed list of words, in upstream's order of printing them.
pub(crate) fn one_of(value: &str, supported: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    if !supported.contains(&value) {
        errors.not_supported(path, value, supported);
    }
}

/// [`one_of`] for a field that may be absent.
pub(crate) fn optional_one_of(value: &Value, supported: &[&str], path: &Path<'_>, errors: &mut ErrorList) {
    if !value.is_null() {
        one_of(value.as_str().unwrap_or_default(), supported, path, errors);
    }
}

pub(crate) fn dns1123_label(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    errors.each_invalid(path, value, names::dns1123_label(value));
}

pub(crate) fn dns1123_subdomain(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    errors.each_invalid(path, value, names::dns1123_subdomain(value));
}

pub(crate) fn qualified_name(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    errors.each_invalid(path, value, names::qualified_name(value));
}

/// A number or a name of a port.
pub(crate) fn port(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match value {
        Value::String(name) => errors.each_invalid(path, name, names::port_name(name)),
        number => in_range(number.as_i64().unwrap_or_default(), 1, 65535, path, errors),
    }
}

/// `a/b`, not `/a/b` nor `../b`.
pub(crate) fn descending_path(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    no_backsteps(value, path, errors);
}

pub(crate) fn no_backsteps(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if has_backsteps(value) {
        errors.invalid(path, value, "must not contain '..'");
    }
}

pub(crate) fn has_backsteps(value: &str) -> bool {
    value.split('/').any(|part| part == "..")
}

/// [`descending_path`] for files of volumes, where names in `..` are the atomic writer's.
pub(crate) fn non_reserved_path(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    descending_path(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

/// `acme.io/foo`
pub(crate) fn domain_path(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if value.is_empty() {
        return errors.required(path, "");
    }
    match value.split_once('/') {
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            dns1123_subdomain(domain, path, errors);
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
            if !rest.bytes().all(fits) {
                errors.invalid(path, rest, names::pattern("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]));
            }
        }
        _ => errors.invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// User and group ids.
pub(crate) fn id(value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(id) = value.as_i64() {
        in_range(id, 0, i64::from(i32::MAX), path, errors);
    }
}

/// The strings of a list.
pub(crate) fn texts<'a>(obj: &'a Value, path: &str) -> impl Iterator<Item = &'a str> {
    obj.list(path).iter().map(|text| text.as_str().unwrap_or_default())
}

/// Bytes behind a base64 text.
pub(crate) fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').bytes().filter(|b| !b.is_ascii_whitespace()).count() * 3 / 4
}
