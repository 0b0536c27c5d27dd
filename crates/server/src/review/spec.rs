//! What an access review asks (`pkg/registry/authorization/util`,
//! `pkg/apis/authorization/validation`).

use orlop_api::field::{ErrorList, Path};
use orlop_api::selector::Selector;
use orlop_api::{Value, names};
use orlop_client::transport::UserInfo;
use serde_json::json;

use crate::filter::field_terms;
use crate::request::RequestInfo;

/// The user a SubjectAccessReview names.
pub fn user(spec: &Value) -> UserInfo {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let extra = spec["extra"].as_object().into_iter().flatten();
    UserInfo {
        name: text("user"),
        uid: text("uid"),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

/// The request a review describes, and what of its selectors could not be read.
pub fn request(spec: &Value) -> (RequestInfo, Vec<String>) {
    let resource = &spec["resourceAttributes"];
    if !resource.is_object() {
        let attributes = &spec["nonResourceAttributes"];
        let (verb, path) = (text(&attributes["verb"]), text(&attributes["path"]));
        return (RequestInfo { verb, path, ..RequestInfo::default() }, Vec::new());
    }
    let field = |name: &str| text(&resource[name]);
    let version = field("version");
    let mut errors = Vec::new();
    let mut read = |name, written: fn(&str) -> bool, term| match selector(&resource[name], written, term) {
        Ok(text) => text,
        Err((text, ignored)) => {
            errors.push(format!("spec.resourceAttributes.{name} {ignored} due to parse error"));
            text
        }
    };
    let field_selector = read("fieldSelector", |text| field_terms(text).is_some(), field_term);
    let label_selector = read("labelSelector", |text| Selector::parse(text).is_ok(), label_term);
    let request = RequestInfo {
        verb: field("verb"),
        is_resource: true,
        api_group: field("group"),
        api_version: if version.is_empty() { "*".into() } else { version },
        namespace: field("namespace"),
        resource: field("resource"),
        subresource: field("subresource"),
        name: field("name"),
        field_selector,
        label_selector,
        ..RequestInfo::default()
    };
    (request, errors)
}

/// A selector as text. Requirements that cannot be read are left out, and the error says how much that is: the rest
/// asks for more, so leaving out never allows too much.
fn selector(
    value: &Value,
    is_written_well: fn(&str) -> bool,
    term: fn(&Value) -> Option<String>,
) -> Result<String, (String, &'static str)> {
    let requirements: Vec<&Value> = value["requirements"].as_array().into_iter().flatten().collect();
    if requirements.is_empty() {
        let raw = text(&value["rawSelector"]);
        return if is_written_well(&raw) { Ok(raw) } else { Err((String::new(), "ignored")) };
    }
    let terms: Vec<String> = requirements.iter().filter_map(|requirement| term(requirement)).collect();
    match terms.len() {
        all if all == requirements.len() => Ok(terms.join(",")),
        0 => Err((String::new(), "ignored")),
        _ => Err((terms.join(","), "partially ignored")),
    }
}

fn field_term(requirement: &Value) -> Option<String> {
    let (key, values) = (text(&requirement["key"]), texts(&requirement["values"]));
    match (&*text(&requirement["operator"]), values.as_slice()) {
        ("In", [value]) => Some(format!("{key}={value}")),
        ("NotIn", [value]) => Some(format!("{key}!={value}")),
        _ => None,
    }
}

fn label_term(requirement: &Value) -> Option<String> {
    let (key, values) = (text(&requirement["key"]), texts(&requirement["values"]));
    match &*text(&requirement["operator"]) {
        "In" if !values.is_empty() => Some(format!("{key} in ({})", values.join(","))),
        "NotIn" if !values.is_empty() => Some(format!("{key} notin ({})", values.join(","))),
        "Exists" => Some(key),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

/// What is wrong with the spec of any access review.
pub fn validate(spec: &Value, names_subject: bool) -> ErrorList {
    let mut errors = ErrorList::default();
    let path = Path::new("spec");
    if spec["resourceAttributes"].is_object() == spec["nonResourceAttributes"].is_object() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid(&path, shown(&spec["nonResourceAttributes"]), why);
    }
    if names_subject && text(&spec["user"]).is_empty() && texts(&spec["groups"]).is_empty() {
        errors.invalid(&path.child("user"), text(&spec["user"]), "at least one of user or group must be specified");
    }
    let path = path.child("resourceAttributes");
    for (name, requirement) in [("fieldSelector", field_requirement as Rule), ("labelSelector", label_requirement)] {
        validate_selector(&spec["resourceAttributes"][name], requirement, &path.child(name), &mut errors);
    }
    errors
}

/// Attributes as upstream prints them: in the words of its own type.
pub fn shown(attributes: &Value) -> Value {
    match attributes {
        Value::Null => Value::Null,
        _ => json!({"Path": text(&attributes["path"]), "Verb": text(&attributes["verb"])}),
    }
}

/// What a requirement of a selector must be.
type Rule = fn(&Value, &Path<'_>, &mut ErrorList);

fn validate_selector(selector: &Value, rule: Rule, path: &Path<'_>, errors: &mut ErrorList) {
    if !selector.is_object() {
        return;
    }
    let raw = text(&selector["rawSelector"]);
    let has_requirements = selector["requirements"].as_array().is_some_and(|list| !list.is_empty());
    match (raw.is_empty(), has_requirements) {
        (false, true) => {
            errors.invalid(&path.child("rawSelector"), raw, "may not specified at the same time as requirements");
        }
        (true, false) => {
            let why = format!("when {path} is specified, requirements or rawSelector is required");
            errors.required(&path.child("requirements"), why);
        }
        _ => {}
    }
    let path = path.child("requirements");
    for (i, requirement) in selector["requirements"].as_array().into_iter().flatten().enumerate() {
        rule(requirement, &path.index(i), errors);
    }
}

fn field_requirement(requirement: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if text(&requirement["key"]).is_empty() {
        errors.required(&path.child("key"), "must be specified");
    }
    value_count(requirement, path, errors);
}

fn label_requirement(requirement: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    value_count(requirement, path, errors);
    let key = text(&requirement["key"]);
    errors.each_invalid(&path.child("key"), &key, names::qualified_name(&key));
    let path = path.child("values");
    for (i, value) in texts(&requirement["values"]).iter().enumerate() {
        errors.each_invalid(&path.index(i), value, names::label_value(value));
    }
}

/// Operators that are not known yet may have any number.
fn value_count(requirement: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    let path = path.child("values");
    match (&*text(&requirement["operator"]), texts(&requirement["values"]).is_empty()) {
        ("In" | "NotIn", true) => errors.required(&path, "must be specified when `operator` is 'In' or 'NotIn'"),
        ("Exists" | "DoesNotExist", false) => {
            errors.forbidden(&path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        _ => {}
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}
