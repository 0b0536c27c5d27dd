//! Whether a policy or binding is meant for a request: rules, selectors, equivalent versions
//! (`k8s.io/apiserver/pkg/admission/plugin/policy/matching`).

use std::collections::BTreeMap;

use orlop_api::selector::Selector;
use orlop_api::{Value, meta};

use crate::Server;
use crate::admission::{Attributes, rules};
use crate::resource::Resource;

/// The version of the resource in which a policy wants to see the object; `None` if it is not meant.
pub fn matches(server: &Server, attributes: &Attributes, criteria: &Value) -> Result<Option<Resource>, String> {
    let namespace = namespace_selected(server, attributes, &criteria["namespaceSelector"]);
    let object = object_selected(attributes, &criteria["objectSelector"]);
    if namespace == Ok(false) || object == Ok(false) {
        return Ok(None);
    }
    let exact = criteria["matchPolicy"] == "Exact";
    if rules_match(server, attributes, &criteria["excludeResourceRules"], exact).is_some() {
        return Ok(None);
    }
    let matched = match criteria["resourceRules"].as_array() {
        Some(rules) if !rules.is_empty() => rules_match(server, attributes, &criteria["resourceRules"], exact),
        _ => Some(attributes.resource.clone()),
    };
    // Selectors that cannot be read matter only to those whom the rules mean.
    if matched.is_some() {
        namespace?;
        object?;
    }
    Ok(matched)
}

fn rules_match(server: &Server, attributes: &Attributes, rules: &Value, exact: bool) -> Option<Resource> {
    rules::matching(server, attributes, rules.as_array()?, exact)
}

pub fn selector(value: &Value) -> Result<Selector, String> {
    if value.is_null() {
        return Ok(Selector::everything());
    }
    let typed = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    Selector::from_typed(&typed).map_err(|error| error.to_string())
}

pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Cluster-scoped objects are in no namespace and always selected; a namespace is in itself.
fn namespace_selected(server: &Server, attributes: &Attributes, wanted: &Value) -> Result<bool, String> {
    let selector = selector(wanted)?;
    if selector.is_empty() {
        return Ok(true);
    }
    if attributes.is("", "namespaces") {
        let newest = attributes.subresource.is_empty() && attributes.object.is_object();
        let old = attributes.old_object.as_deref();
        let object = if newest { Some(&attributes.object) } else { old };
        return Ok(object.is_none_or(|object| selector.matches(&labels(object))));
    }
    if attributes.namespace.is_empty() {
        return Ok(true);
    }
    match namespace(server, &attributes.namespace) {
        Some(namespace) => Ok(selector.matches(&labels(&namespace))),
        None => Err(format!("namespaces {:?} not found", attributes.namespace)),
    }
}

/// The object as it was or as it will be.
fn object_selected(attributes: &Attributes, wanted: &Value) -> Result<bool, String> {
    let selector = selector(wanted)?;
    if selector.is_empty() {
        return Ok(true);
    }
    let old = attributes.old_object.as_deref();
    let objects = [Some(&attributes.object), old].into_iter().flatten();
    Ok(objects.filter(|object| object["metadata"].is_object()).any(|object| selector.matches(&labels(object))))
}

pub fn namespace(server: &Server, name: &str) -> Option<Value> {
    let key = orlop_store::Key { resource: "namespaces".into(), namespace: "".into(), name: name.into() };
    let entry = server.store.newest(&key)?;
    let mut namespace: Value = serde_json::from_slice(&entry.json).ok()?;
    meta::remove(&mut namespace, "managedFields");
    Some(namespace)
}
