//! Devices (`resource.k8s.io`): DeviceTaintRules, DeviceClasses, and the rules that claims and slices share with them.
//! Selectors in CEL are compiled by the server.

use serde_json::Value;

use super::conditions::conditions;
use super::prelude::*;
use super::volumes::csi_driver;
use crate::names;
use crate::object_meta::subdomain_rule;

const MAX_POOL_NAME: usize = 253;
const MAX_PARAMETERS: usize = 10 * 1024;
const MAX_DRIVER_NAME: usize = 63;
const MAX_BINDING_CONDITIONS: usize = 4;
const MAX_IDENTIFIER: usize = 32;
pub(super) const MAX_SELECTORS: usize = 32;
pub(super) const MAX_CONFIGS: usize = 32;
/// Of a DeviceTaintRule.
const MAX_CONDITIONS: usize = 8;
pub(super) const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

pub(crate) fn taint_rule(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, subdomain_rule, errors);
    rule(&obj["spec"], true, errors);
}

pub(crate) fn taint_rule_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    rule(&obj["spec"], obj.text("spec.taint.effect") != old.text("spec.taint.effect"), errors);
}

pub(crate) fn taint_rule_status(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata_update(obj, old, errors);
    let path = Path::new("status.conditions");
    let list = obj.list("status.conditions");
    conditions(list, &path, errors);
    if list.len() > MAX_CONDITIONS {
        errors.too_many(&path, list.len(), MAX_CONDITIONS);
    }
}

fn rule(spec: &Value, check_effect: bool, errors: &mut ErrorList) {
    let (selector, path) = (&spec["deviceSelector"], Path::new("spec.deviceSelector"));
    if let Some(driver) = selector["driver"].as_str() {
        csi_driver(driver, &path.child("driver"), errors);
    }
    if let Some(pool) = selector["pool"].as_str() {
        pool_name(pool, &path.child("pool"), errors);
    }
    if let Some(device) = selector["device"].as_str() {
        dns1123_label(device, &path.child("device"), errors);
    }
    let (taint, path) = (&spec["taint"], Path::new("spec.taint"));
    self::taint(taint, &path, errors);
    if check_effect {
        effect(taint, &path, errors);
    }
}

/// But for its effect, which is declared apart.
pub(super) fn taint(taint: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    qualified_name(taint.text("key"), &path.child("key"), errors);
    label_value(taint.text("value"), &path.child("value"), errors);
}

pub(super) fn effect(taint: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    match taint.text("effect") {
        "" => errors.required(&path.child("effect"), ""),
        effect => one_of(effect, EFFECTS, &path.child("effect"), errors),
    }
}

pub(super) fn label_value(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    errors.each_invalid(path, value, names::label_value(value));
}

pub(super) fn pool_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > MAX_POOL_NAME {
        errors.too_long(path, MAX_POOL_NAME);
    }
    name.split('/').for_each(|part| dns1123_subdomain(part, path, errors));
}

pub(crate) fn class(obj: &Value, errors: &mut ErrorList) {
    metadata(obj, false, class_name, errors);
    class_spec(&obj["spec"], &Value::Null, errors);
}

pub(crate) fn class_update(obj: &Value, old: &Value, errors: &mut ErrorList) {
    metadata(obj, false, class_name, errors);
    metadata_update(obj, old, errors);
    class_spec(&obj["spec"], &old["spec"], errors);
}

fn class_name(name: &str, prefix: bool) -> Vec<String> {
    in_bytes(subdomain_rule(name, prefix))
}

fn class_spec(spec: &Value, old: &Value, errors: &mut ErrorList) {
    let (selectors_at, configs_at) = (Path::new("spec.selectors"), Path::new("spec.config"));
    let (selectors, configs) = (spec.list("selectors"), spec.list("config"));
    self::selectors(selectors, &selectors_at, errors);
    let stored = crate::equality::same(&spec["config"], &old["config"]);
    for (i, config) in few(configs, MAX_CONFIGS) {
        configuration(config, &configs_at.index(i), stored, errors);
    }
    at_most(selectors, MAX_SELECTORS, &selectors_at, errors);
    at_most(configs, MAX_CONFIGS, &configs_at, errors);
    for (i, config) in few(configs, MAX_CONFIGS).filter(|_| !stored) {
        configuration_driver(config, &configs_at.index(i), errors);
    }
    let name = &spec["extendedResourceName"];
    if let Some(text) = name.as_str().filter(|_| *name != old["extendedResourceName"]) {
        extended_resource_name(text, &Path::new("spec.extendedResourceName"), errors);
    }
}

/// The words of declared rules, which count bytes.
pub(super) fn in_bytes(messages: Vec<String>) -> Vec<String> {
    let is_length = |message: &String| message.starts_with("must be no more than");
    messages.into_iter().map(|m| if is_length(&m) { m.replace(" characters", " bytes") } else { m }).collect()
}

fn extended_resource_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if !name.contains('/') {
        errors.invalid(path, name, "a name must be a domain-prefixed path, such as 'example.com/my-prop'");
    } else if name.contains("kubernetes.io/") {
        errors.invalid(path, name, "must not have \"kubernetes.io/\" domain");
    }
    if name.starts_with("requests.") {
        errors.invalid(path, name, "must not have \"requests.\" prefix");
    }
    // Quotas know it by this name.
    errors.each_invalid(path, name, names::qualified_name(&format!("requests.{name}")));
}

pub(super) fn selectors(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    for (i, _) in few(list, MAX_SELECTORS).filter(|(_, selector)| !selector.has("cel")) {
        errors.required(&path.index(i).child("cel"), "");
    }
}

/// But for the driver's name, which is declared apart. `stored`: it may be longer than it might be today.
pub(super) fn configuration(config: &Value, path: &Path<'_>, stored: bool, errors: &mut ErrorList) {
    let (path, opaque) = (path.child("opaque"), &config["opaque"]);
    if opaque.is_null() {
        errors.required(&path, "");
    } else {
        json_object(
            &opaque["parameters"],
            if stored { usize::MAX } else { MAX_PARAMETERS },
            &path.child("parameters"),
            errors,
        );
    }
}

pub(super) fn configuration_driver(config: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let opaque = path.child("opaque");
    if config.has("opaque") {
        driver_name(config.text("opaque.driver"), &opaque.child("driver"), errors);
    }
}

/// The declared form of [`csi_driver`].
pub(super) fn driver_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let caseless = |message: String| {
        let message = message.replace("a lowercase RFC 1123 subdomain", "an RFC 1123 subdomain");
        message.replace("of lower case alphanumeric", "of alphanumeric").replace("'example.com'", "'Example.com'")
    };
    let messages = in_bytes(names::dns1123_subdomain(&name.to_ascii_lowercase()));
    errors.each_invalid(path, name, messages.into_iter().map(caseless).collect());
    errors.at_most_characters(name, MAX_DRIVER_NAME, path);
}

/// A `runtime.RawExtension` that must be an object.
pub(super) fn json_object(value: &Value, max: usize, path: &Path<'_>, errors: &mut ErrorList) {
    match value {
        Value::Null => errors.required(path, ""),
        _ if value.to_string().len() > max => errors.too_long(path, max),
        Value::Object(_) => {}
        _ => errors.invalid(path, "<value omitted>", "must be a valid JSON object"),
    }
}

/// `name` or `domain/name`: attributes and capacities.
pub(super) fn attribute_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            match domain {
                "" => errors.invalid(path, "", "the domain must not be empty"),
                _ => csi_driver(domain, path, errors),
            }
            match id {
                "" => errors.invalid(path, "", "the name must not be empty"),
                _ => identifier(id, path, errors),
            }
        }
        // Upstream lets more slashes pass.
        _ => {}
    }
}

/// `domain/name`, by the declared rule.
pub(super) fn qualified_attribute_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            if domain.is_empty() {
                errors.invalid(path, "", "prefix must not be empty");
            } else {
                if domain.len() > MAX_DRIVER_NAME {
                    errors.too_long(path, MAX_DRIVER_NAME);
                }
                let messages = in_bytes(names::dns1123_subdomain(domain)).into_iter();
                errors.each_invalid(path, domain, messages.map(|message| format!("prefix: {message}")).collect());
            }
            match id {
                "" => errors.invalid(path, "", "name must not be empty"),
                _ => identifier(id, path, errors),
            }
        }
        _ => {}
    }
    if !name.contains('/') {
        errors.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn identifier(id: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if id.len() > MAX_IDENTIFIER {
        errors.too_long(path, MAX_IDENTIFIER);
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if id.is_empty() || id.starts_with(|c: char| c.is_ascii_digit()) || !id.chars().all(fits) {
        let text = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                    alphanumeric characters or '_'";
        errors.invalid(path, id, names::pattern(text, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"]));
    }
}

/// Conditions that must hold, or must not, before a pod is bound.
pub(super) fn binding_conditions(of: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let fields = ["bindingConditions", "bindingFailureConditions"];
    for field in fields {
        let at = path.child(field);
        for (i, name) in few(of.list(field), MAX_BINDING_CONDITIONS) {
            qualified_name(name.as_str().unwrap_or_default(), &at.index(i), errors);
        }
    }
    let [wanted, failures] = fields.map(|field| texts(of, field).collect::<Vec<_>>());
    for (field, list) in fields.into_iter().zip([&wanted, &failures]) {
        let at = path.child(field);
        for (i, name) in list.iter().enumerate() {
            if list[..i].contains(name) {
                errors.duplicate(&at.index(i), *name);
            }
            if field == fields[1] && wanted.contains(name) {
                errors.invalid(&at.index(i), *name, "bindingFailureConditions must not overlap with bindingConditions");
            }
        }
    }
    if wanted.is_empty() && !failures.is_empty() {
        let detail = "bindingConditions are required to use bindingFailureConditions";
        errors.invalid(&path.child(fields[0]), of[fields[0]].clone(), detail);
    }
    if failures.is_empty() && !wanted.is_empty() {
        let detail = "bindingFailureConditions are required to use bindingConditions";
        errors.invalid(&path.child(fields[1]), of[fields[1]].clone(), detail);
    }
}

pub(super) fn binding_conditions_counts(of: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    for field in ["bindingConditions", "bindingFailureConditions"] {
        at_most(of.list(field), MAX_BINDING_CONDITIONS, &path.child(field), errors);
    }
}

/// But for what is declared apart.
pub(super) fn tolerations(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    for (i, toleration) in list.iter().enumerate() {
        let path = path.index(i);
        let (value, at) = (toleration.text("value"), path.child("value"));
        match toleration.text("operator") {
            "Exists" if !value.is_empty() => errors.invalid(&at, value, "must be empty for operator `Exists`"),
            "Equal" => label_value(value, &at, errors),
            _ => {}
        }
    }
}

pub(super) fn declared_tolerations(list: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
    for (i, toleration) in list.iter().enumerate() {
        let path = path.index(i);
        let (key, effect) = (toleration.text("key"), toleration.text("effect"));
        if !key.is_empty() {
            qualified_name(key, &path.child("key"), errors);
        }
        match toleration.text("operator") {
            "" => errors.required(&path.child("operator"), ""),
            operator => one_of(operator, &["Equal", "Exists"], &path.child("operator"), errors),
        }
        if !effect.is_empty() {
            one_of(effect, EFFECTS, &path.child("effect"), errors);
        }
    }
}

/// The items; none of a list that is too long, which is looked at no further.
pub(super) fn few(list: &[Value], max: usize) -> impl Iterator<Item = (usize, &Value)> {
    let list = if list.len() > max { &[] } else { list };
    list.iter().enumerate()
}

pub(super) fn at_most(list: &[Value], max: usize, path: &Path<'_>, errors: &mut ErrorList) {
    if list.len() > max {
        errors.too_many(path, list.len(), max);
    }
}

/// What comes a second time, by its key.
pub(super) fn unique<'a, K: PartialEq>(
    list: &'a [Value],
    key: impl Fn(&'a Value) -> K,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (i, item) in list.iter().enumerate() {
        if list[..i].iter().any(|other| key(other) == key(item)) {
            errors.duplicate(&path.index(i), item.clone());
        }
    }
}
