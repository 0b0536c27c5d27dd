//! A request as a SubjectAccessReview describes it.

use orlop_api::selector::{Operator, Selector};
use orlop_api::{Map, Value};
use orlop_client::transport::UserInfo;
use serde_json::json;

use crate::filter::field_terms;
use crate::request::RequestInfo;

/// `authorization/v1 SubjectAccessReviewSpec`, what is empty left out.
pub fn spec(user: &UserInfo, request: &RequestInfo) -> Value {
    let mut spec = Map::new();
    if request.is_resource {
        spec.insert("resourceAttributes".into(), resource(request));
    } else {
        let attributes = compact([("path", &request.path), ("verb", &request.verb)]);
        spec.insert("nonResourceAttributes".into(), Value::Object(attributes));
    }
    spec.extend(compact([("user", &user.name), ("uid", &user.uid)]));
    if !user.groups.is_empty() {
        spec.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        let extra: Map<String, Value> = user.extra.iter().map(|(key, values)| (key.clone(), json!(values))).collect();
        spec.insert("extra".into(), Value::Object(extra));
    }
    Value::Object(spec)
}

/// The old version calls groups `group`.
pub fn to_v1beta1(mut spec: Value) -> Value {
    if let Some(groups) = spec.as_object_mut().and_then(|fields| fields.remove("groups")) {
        spec["group"] = groups;
    }
    spec
}

/// Bytes of what the requester chose.
pub fn length(request: &RequestInfo) -> usize {
    let parts = [
        &request.namespace,
        &request.verb,
        &request.api_group,
        &request.api_version,
        &request.resource,
        &request.subresource,
        &request.name,
        &request.path,
    ];
    parts.into_iter().map(String::len).sum()
}

fn resource(request: &RequestInfo) -> Value {
    let mut attributes = compact([
        ("namespace", &request.namespace),
        ("verb", &request.verb),
        ("group", &request.api_group),
        ("version", &request.api_version),
        ("resource", &request.resource),
        ("subresource", &request.subresource),
        ("name", &request.name),
    ]);
    for (field, requirements) in [
        ("fieldSelector", field_requirements(&request.field_selector)),
        ("labelSelector", label_requirements(&request.label_selector)),
    ] {
        if !requirements.is_empty() {
            attributes.insert(field.into(), json!({ "requirements": requirements }));
        }
    }
    Value::Object(attributes)
}

fn compact<const N: usize>(fields: [(&str, &String); N]) -> Map<String, Value> {
    let given = fields.into_iter().filter(|(_, text)| !text.is_empty());
    given.map(|(field, text)| (field.to_owned(), text.clone().into())).collect()
}

/// None of a selector that cannot be read: its request fails anyway.
fn field_requirements(selector: &str) -> Vec<Value> {
    let terms = field_terms(selector).unwrap_or_default();
    let requirement = |(key, equal, value): (String, bool, String)| json!({ "key": key, "operator": if equal { "In" } else { "NotIn" }, "values": [value] });
    terms.into_iter().map(requirement).collect()
}

fn label_requirements(selector: &str) -> Vec<Value> {
    let parsed = Selector::parse(selector).unwrap_or_default();
    let requirement = |(key, operator, values): (&String, Operator, &Vec<String>)| {
        let operator = match operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => "In",
            Operator::NotIn | Operator::NotEquals => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            Operator::GreaterThan | Operator::LessThan => return None,
        };
        let mut requirement = json!({ "key": key, "operator": operator });
        if !values.is_empty() {
            requirement["values"] = json!(values);
        }
        Some(requirement)
    };
    parsed.requirements().iter().filter_map(|one| requirement((&one.key, one.operator, &one.values))).collect()
}
