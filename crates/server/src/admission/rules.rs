//! Whom the rules of webhooks and policies mean, and in which version of its resource they name it
//! (`k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules`, `pkg/runtime` equivalent resources).

use std::sync::LazyLock;

use orlop_api::kind::Kind;
use orlop_api::{Value, kinds};

use super::Attributes;
use crate::Server;
use crate::resource::Resource;

/// Built-in kinds whose objects another kind serves, too: Events of both groups.
static SHARED: LazyLock<Vec<&'static dyn Kind>> = LazyLock::new(|| {
    let all = kinds::all();
    let is_shared = |kind: &&&'static dyn Kind| {
        let (key, group) = (&kind.info().storage_key, &kind.info().group);
        all.iter().any(|other| other.info().storage_key == *key && other.info().group != *group)
    };
    all.iter().filter(is_shared).copied().collect()
});

/// The resource that the first fitting rule names; unless `exact`, another version or group through which the same
/// object could have been written fits, too.
pub fn matching(server: &Server, a: &Attributes, rules: &[Value], exact: bool) -> Option<Resource> {
    if rules.iter().any(|rule| matches(rule, a, &a.resource)) {
        return Some(a.resource.clone());
    }
    if exact || rules.is_empty() {
        return None;
    }
    let equivalents = equivalents(server, a);
    rules.iter().find_map(|rule| equivalents.iter().find(|resource| matches(rule, a, resource)).cloned())
}

fn equivalents(server: &Server, a: &Attributes) -> Vec<Resource> {
    let info = a.resource.info();
    let own = info.versions.iter().filter(|version| **version != *a.resource.version());
    let own = own.filter_map(|version| server.resource(&info.group, version, &info.plural));
    let twins = SHARED
        .iter()
        .map(|kind| kind.info())
        .filter(|twin| a.resource.has_protobuf() && twin.storage_key == info.storage_key && twin.group != info.group);
    let twins = twins.flat_map(|twin| {
        twin.versions.iter().filter_map(|version| server.resource(&twin.group, version, &twin.plural))
    });
    let has_subresource =
        |resource: &Resource| a.subresource.is_empty() || resource.info().subresource(&a.subresource).is_some();
    own.chain(twins).filter(has_subresource).collect()
}

fn matches(rule: &Value, a: &Attributes, resource: &Resource) -> bool {
    let listed = |key: &str, wanted: &str| {
        let mut items = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.any(|item| item == "*" || item == wanted)
    };
    let info = resource.info();
    in_scope(a, &rule["scope"])
        && listed("operations", a.operation.name())
        && listed("apiGroups", &info.group)
        && listed("apiVersions", resource.version())
        && resource_listed(rule, &info.plural, &a.subresource)
        && name_listed(rule, &a.name)
}

fn in_scope(a: &Attributes, scope: &Value) -> bool {
    let namespaced = !a.is("", "namespaces") && !a.namespace.is_empty();
    match scope.as_str() {
        Some("Namespaced") => namespaced,
        Some("Cluster") => !namespaced,
        _ => true,
    }
}

/// `pods`, `pods/log`, `*`, `*/*`, `pods/*`.
fn resource_listed(rule: &Value, plural: &str, subresource: &str) -> bool {
    rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|item| {
        let (resource, sub) = item.split_once('/').unwrap_or((item, ""));
        (resource == "*" || resource == plural) && (sub == "*" || sub == subresource)
    })
}

/// Only rules of policies name objects.
fn name_listed(rule: &Value, name: &str) -> bool {
    match rule["resourceNames"].as_array() {
        Some(names) if !names.is_empty() => names.iter().any(|listed| listed == name),
        _ => true,
    }
}
