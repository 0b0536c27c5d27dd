//! ConfigMaps and Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::prelude::*;
use crate::kinds::read::annotation;
use crate::names;
use crate::object_meta::subdomain_rule;

/// Values together, decoded (`MaxSecretSize`): what one object may weigh in a store that takes 1.5 MiB requests.
const MAX_DATA_SIZE: usize = 1024 * 1024;
const SET_IMMUTABLE: &str = "field is immutable when `immutable` is set";

pub(crate) fn config_map(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    let (data, binary) = (obj.map("data"), obj.map("binaryData"));
    let mut size = 0;
    let path = Path::new("data");
    for (key, value) in data {
        errors.each_invalid(&path.key(key), key, names::config_map_key(key));
        if binary.contains_key(key) {
            errors.invalid(&path.key(key), key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.as_str().map_or(0, str::len);
    }
    let path = Path::new("binaryData");
    for (key, value) in binary {
        errors.each_invalid(&path.key(key), key, names::config_map_key(key));
        size += value.as_str().map_or(0, decoded_len);
    }
    if size > MAX_DATA_SIZE {
        errors.too_long(&Path::new(""), MAX_DATA_SIZE);
    }
}

pub(crate) fn config_map_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    sealed(obj, old, &["data", "binaryData"], errors);
    config_map(obj, errors);
}

pub(crate) fn secret(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, true, subdomain_rule, errors);
    let path = Path::new("data");
    let mut size = 0;
    for (key, value) in obj.map("data") {
        errors.each_invalid(&path.key(key), key, names::config_map_key(key));
        size += value.as_str().map_or(0, decoded_len);
    }
    if size > MAX_DATA_SIZE {
        errors.too_long(&path, MAX_DATA_SIZE);
    }
    secret_type(obj, &path, errors);
}

pub(crate) fn secret_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    immutable(&obj["type"], &old["type"], &Path::new("type"), errors);
    sealed(obj, old, &["data"], errors);
    secret(obj, errors);
}

/// What was made immutable stays, the mark itself included.
fn sealed(obj: &Value, old: &Value, fields: &[&str], errors: &mut ErrorList) {
    if !old.flag("immutable") {
        return;
    }
    if !obj.flag("immutable") {
        errors.forbidden(&Path::new("immutable"), SET_IMMUTABLE);
    }
    for field in fields {
        if obj.at(field) != old.at(field) {
            errors.forbidden(&Path::new(field), SET_IMMUTABLE);
        }
    }
}

/// Keys that a type promises to its readers.
fn secret_type(obj: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let data = obj.map("data");
    let mut need = |keys: &[&str]| {
        for key in keys.iter().filter(|key| !data.contains_key(**key)) {
            errors.required(&path.key(key), "");
        }
    };
    match obj.text("type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if annotation(obj, key).is_empty() {
                errors.required(&Path::new("metadata.annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => docker_config(obj, ".dockercfg", path, errors),
        "kubernetes.io/dockerconfigjson" => docker_config(obj, ".dockerconfigjson", path, errors),
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            need(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" if obj["data"]["ssh-privatekey"].as_str().is_none_or(str::is_empty) => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        _ => {}
    }
}

/// Credentials for registries must be a JSON object.
fn docker_config(obj: &Value, key: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(text) = obj["data"].get(key) else {
        errors.required(&path.key(key), "");
        return;
    };
    let json = STANDARD.decode(text.as_str().unwrap_or_default()).unwrap_or_default();
    let why = match serde_json::from_slice(&json) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => {
            let found = type_name(&other);
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        }
        Err(_) => crate::codec::json::syntax_error(&json),
    };
    errors.invalid(&path.key(key), "<secret contents redacted>", why);
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Null | Value::Object(_) => "object",
    }
}
