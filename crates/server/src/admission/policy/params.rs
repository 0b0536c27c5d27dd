//! The objects a binding evaluates its policy with.

use orlop_api::Value;

use super::matching::selector;
use crate::Server;
use crate::resource::{Resource, parse_stored};

/// One `None` for a policy without params; otherwise every object the binding names.
pub fn collect(
    server: &Server,
    policy: &Value,
    binding: &Value,
    namespace: &str,
) -> Result<Vec<Option<Value>>, String> {
    let (kind, reference) = (&policy["spec"]["paramKind"], &binding["spec"]["paramRef"]);
    if !kind.is_object() || !reference.is_object() {
        return Ok(vec![None]);
    }
    let resource = find_kind(server, kind).ok_or_else(|| unknown(kind))?;
    let namespace = param_namespace(&resource, reference, namespace)?;
    let name = reference["name"].as_str().unwrap_or_default();
    let found = match (name, &reference["selector"]) {
        ("", Value::Null) => return Err("one of name or selector must be provided".to_owned()),
        ("", wanted) => select(server, &resource, &namespace, wanted)?,
        (_, wanted) if wanted.is_object() => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
        }
        (name, _) => {
            let entry = server.store.newest(&resource.key(&namespace, name));
            entry.iter().filter_map(|entry| parse_stored(entry).ok()).collect()
        }
    };
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.iter().map(|object| Some(resource.versioned(object).into_owned())).collect())
}

/// The resource of a policy's `paramKind`.
pub fn find_kind(server: &Server, kind: &Value) -> Option<Resource> {
    let (api_version, kind) = (kind["apiVersion"].as_str()?, kind["kind"].as_str()?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    server.resources().of_group_version(group, version).find(|resource| resource.info().kind == kind).cloned()
}

pub fn unknown(kind: &Value) -> String {
    let text = |key: &str| kind[key].as_str().unwrap_or_default();
    format!("failed to find resource referenced by paramKind: '{}, Kind={}'", text("apiVersion"), text("kind"))
}

fn param_namespace(resource: &Resource, reference: &Value, namespace: &str) -> Result<String, String> {
    let given = reference["namespace"].as_str().unwrap_or_default();
    match (resource.info().namespaced, given, namespace) {
        (false, "", _) => Ok(String::new()),
        (false, ..) => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        (true, "", "") => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned())
        }
        (true, "", namespace) => Ok(namespace.to_owned()),
        (true, given, _) => Ok(given.to_owned()),
    }
}

fn select(server: &Server, resource: &Resource, namespace: &str, wanted: &Value) -> Result<Vec<Value>, String> {
    let selector = selector(wanted)?;
    let snapshot = server.store.snapshot();
    let within = resource.info().namespaced.then_some(namespace);
    let objects = snapshot.range(resource.storage_key(), within, None).filter_map(|entry| parse_stored(entry).ok());
    Ok(objects.filter(|object| selector.matches(&super::matching::labels(object))).collect())
}
