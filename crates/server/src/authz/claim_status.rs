//! Who may change which part of a ResourceClaim's status: its allocation, as the scheduler does, or what drivers say of
//! their devices (`pkg/registry/resource/authorization.go`; KEP 4817).

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use orlop_api::field::{ErrorList, Path};
use orlop_api::status::StatusError;
use orlop_api::{Value, equality};
use orlop_base::names;
use orlop_client::transport::UserInfo;

use super::rule::go_list;
use crate::Server;
use crate::admission::{Attributes, Operation, Plugin};
use crate::auth::Decision;
use crate::pipeline::forbidden;
use crate::request::RequestInfo;

const GROUP: &str = "resource.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Runs after all admission: it must see the status as it would be stored.
pub struct ClaimStatus;

impl Plugin for ClaimStatus {
    fn name(&self) -> &'static str {
        "ResourceClaimStatusAuthorization"
    }

    fn handles(&self, a: &Attributes) -> bool {
        a.operation == Operation::Update && a.is(GROUP, "resourceclaims") && a.subresource == "status"
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let Some(old) = a.old_object.as_deref() else { return Ok(()) };
            let mut errors = ErrorList::default();
            check_binding(server, a, old, &mut errors).await;
            if a.object["status"]["allocation"].is_object() {
                check_drivers(server, a, old, &mut errors).await;
            }
            if errors.is_empty() {
                return Ok(());
            }
            Err(StatusError::invalid(GROUP, "ResourceClaim", &a.name, &errors))
        })
    }
}

async fn check_binding(server: &Server, a: &Attributes, old: &Value, errors: &mut ErrorList) {
    let same = |field: &str| equality::same_field(&a.object["status"], &old["status"], field);
    if same("allocation") && same("reservedFor") {
        return;
    }
    let verb = verb(a);
    if let Err(why) = ask(server, a, verb, "binding", "", "").await {
        let detail = format!(
            "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", \
             verb=\"{verb}\" permission: {why}"
        );
        errors.forbidden(&Path::new("status.allocation"), detail);
    }
}

async fn check_drivers(server: &Server, a: &Attributes, old: &Value, errors: &mut ErrorList) {
    let mut verbs = vec![format!("arbitrary-node:{}", verb(a))];
    if runs_on(&a.user, allocated_node(&a.object)) {
        verbs.insert(0, format!("associated-node:{}", verb(a)));
    }
    for driver in changed_drivers(&old["status"], &a.object["status"]) {
        if let Err(why) = ask_any(server, a, &verbs, &driver).await {
            let verbs = go_list(&verbs).replace('"', "");
            let detail = format!(
                "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"{verbs}\" permission: {why}"
            );
            errors.forbidden(&Path::new("status.devices"), detail);
        }
    }
}

/// One of the verbs is enough; the first refusal is the one that is told.
async fn ask_any(server: &Server, a: &Attributes, verbs: &[String], driver: &str) -> Result<(), String> {
    let mut first = Ok(());
    for verb in verbs {
        match ask(server, a, verb, "driver", &a.namespace, driver).await {
            Ok(()) => return Ok(()),
            Err(why) => first = first.and(Err(why)),
        }
    }
    first
}

async fn ask(
    server: &Server,
    a: &Attributes,
    verb: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let request = RequestInfo {
        verb: verb.to_owned(),
        is_resource: true,
        api_group: GROUP.to_owned(),
        api_version: a.resource.version().to_owned(),
        namespace: namespace.to_owned(),
        resource: "resourceclaims".to_owned(),
        subresource: subresource.to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    };
    let why = match server.authorizer().authorize(&a.user, &request).await {
        Decision::Allow { .. } => return Ok(()),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => reason,
        Decision::Failed { reason, error, .. } if reason.is_empty() => error,
        Decision::Failed { reason, error, .. } => format!("{error}: {reason}"),
    };
    Err(forbidden(&a.user, &request, &why).message)
}

fn verb(a: &Attributes) -> &'static str {
    if a.patched { "patch" } else { "update" }
}

/// Drivers of devices whose status came, went or changed.
fn changed_drivers(old: &Value, new: &Value) -> BTreeSet<String> {
    let devices = |status: &Value| status["devices"].as_array().cloned().unwrap_or_default();
    let key = |device: &Value| ["driver", "pool", "device", "shareID"].map(|field| device[field].clone());
    let (old, new) = (devices(old), devices(new));
    let differs = |device: &&Value, others: &[Value]| {
        let other = others.iter().find(|other| key(other) == key(device));
        other.is_none_or(|other| !equality::same(other, device))
    };
    let changed =
        new.iter().filter(|device| differs(device, &old)).chain(old.iter().filter(|device| differs(device, &new)));
    changed.filter_map(|device| device["driver"].as_str().map(str::to_owned)).collect()
}

/// The one node that the allocation's selector names.
fn allocated_node(claim: &Value) -> &str {
    let selector = &claim["status"]["allocation"]["nodeSelector"]["nodeSelectorTerms"];
    let only = |list: &Value| list.as_array().is_some_and(|list| list.len() == 1);
    let term = &selector[0];
    let field = &term["matchFields"][0];
    let no_expressions = term["matchExpressions"].as_array().is_none_or(Vec::is_empty);
    let named = only(selector) && no_expressions && only(&term["matchFields"]) && only(&field["values"]);
    if named && field["key"] == "metadata.name" && field["operator"] == "In" {
        return field["values"][0].as_str().unwrap_or_default();
    }
    ""
}

/// Whether the user is the account of a pod on this node, as its token says.
fn runs_on(user: &UserInfo, node: &str) -> bool {
    let account = user.name.strip_prefix("system:serviceaccount:").is_some_and(|rest| rest.contains(':'));
    let told = user.extra.iter().find(|(key, _)| key == NODE_NAME).map(|(_, values)| values.as_slice());
    account && names::dns1123_subdomain(node).is_empty() && matches!(told, Some([one]) if one == node)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drivers_of_changed_devices() {
        let status = |devices: Value| json!({ "devices": devices });
        let device = |driver: &str, data: &str| json!({"driver": driver, "pool": "p", "device": "d", "data": data});
        let changed =
            |old: Value, new: Value| changed_drivers(&status(old), &status(new)).into_iter().collect::<Vec<_>>();
        assert!(changed(json!([device("a", "1")]), json!([device("a", "1")])).is_empty());
        assert_eq!(changed(json!([device("a", "1")]), json!([device("a", "2"), device("b", "1")])), ["a", "b"]);
        assert_eq!(changed(json!([device("a", "1")]), json!(null)), ["a"]);
    }

    #[test]
    fn accounts_of_pods_on_the_node() {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
        let claim = |terms: Value| json!({"status": {"allocation": {"nodeSelector": {"nodeSelectorTerms": terms}}}});
        assert_eq!(allocated_node(&claim(json!([term]))), "n");
        assert_eq!(allocated_node(&claim(json!([term, term]))), "");
        let user = |name: &str| UserInfo {
            name: name.into(),
            extra: vec![(NODE_NAME.into(), vec!["n".into()])],
            ..UserInfo::default()
        };
        assert!(runs_on(&user("system:serviceaccount:a:b"), "n"));
        assert!(!runs_on(&user("system:serviceaccount:a:b"), "m"));
        assert!(!runs_on(&user("somebody"), "n"));
    }
}
