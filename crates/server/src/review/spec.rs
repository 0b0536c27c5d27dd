//! What an access review asks (`pkg/registry/authorization/util`,
//! `pkg/apis/authorization/validation`).

use orlop_api::Value;
use orlop_api::field::{ErrorList, Path};
use orlop_client::transport::UserInfo;

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
    let (mut field_selector, mut errors) = selector(&resource["fieldSelector"], "fieldSelector", field_term);
    let (label_selector, more) = selector(&resource["labelSelector"], "labelSelector", label_term);
    errors.extend(more);
    if !resource["fieldSelector"].is_object() {
        field_selector = String::new();
    }
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

/// A selector as text. Requirements that cannot be read are left out: the rest asks for more, so
/// leaving out never allows too much.
fn selector(value: &Value, name: &str, term: fn(&Value) -> Option<String>) -> (String, Vec<String>) {
    let requirements: Vec<&Value> = value["requirements"].as_array().into_iter().flatten().collect();
    if requirements.is_empty() {
        return (text(&value["rawSelector"]), Vec::new());
    }
    let terms: Vec<String> = requirements.iter().filter_map(|requirement| term(requirement)).collect();
    let ignored = if terms.is_empty() { "ignored" } else { "partially ignored" };
    let error = format!("spec.resourceAttributes.{name} {ignored} due to parse error");
    let errors = if terms.len() == requirements.len() { Vec::new() } else { vec![error] };
    (terms.join(","), errors)
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
        errors.invalid(&path, spec["nonResourceAttributes"].clone(), why);
    }
    if names_subject && text(&spec["user"]).is_empty() && texts(&spec["groups"]).is_empty() {
        errors.invalid(&path.child("user"), text(&spec["user"]), "at least one of user or group must be specified");
    }
    for name in ["fieldSelector", "labelSelector"] {
        validate_selector(
            &spec["resourceAttributes"][name],
            &path.child("resourceAttributes").child(name),
            &mut errors,
        );
    }
    errors
}

fn validate_selector(selector: &Value, path: &Path, errors: &mut ErrorList) {
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
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}
