//! Empties a namespace that is being deleted, then lets it go.
//!
//! Pods first, then everything else that discovery knows (KEP-5080); what remains and which
//! finalizers hold it stands in the namespace's conditions, in upstream's words. Contents are in no
//! cache: they are looked up at each decision.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::NamespaceCondition;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_api::typed::kinds::{Namespace, Pod};
use orlop_client::discovery::discover;
use orlop_client::engine::{Controller, Grant, Key, Plan, Source, Step, View, Write};
use orlop_client::{Client, DeleteOptions, ListOptions, Propagation, Resource};
use serde_json::Value;

/// The finalizer in `spec.finalizers` that this controller removes when all is gone.
const FINALIZER: &str = "kubernetes";

pub fn controller() -> Controller {
    // Pods take their time to go; each that goes may be the last.
    let pods = Source::of::<Pod>(|delta, _, wake| {
        if delta.new.is_none() {
            wake(Key::new("", delta.object().namespace()));
        }
    });
    let grants = vec![
        Grant::new("", &["namespaces"], &["get", "list", "delete", "watch"]),
        Grant::new("", &["namespaces/finalize", "namespaces/status"], &["update"]),
        Grant::new("*", &["*"], &["get", "list", "delete", "deletecollection"]),
    ];
    let sources = vec![Source::subject::<Namespace>(), pods];
    let mut controller = Controller::new("namespace-controller", "namespace", sources, grants, decide);
    controller.workers = 10;
    controller.look = Some(Box::new(look));
    controller
}

/// Deletion has been asked for.
pub fn is_terminating(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|s| s.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_some() || phase == Some("Terminating")
}

/// What is left in a namespace.
#[derive(Clone, Debug, Default)]
struct Contents {
    remaining: Vec<Remaining>,
    /// Why some resources could not be found or listed.
    discovery_failure: Option<String>,
    content_failure: Option<String>,
}

#[derive(Clone, Debug)]
struct Remaining {
    resource: Resource,
    can_delete_collection: bool,
    count: usize,
    /// Objects on which deletion has not been asked for yet.
    untouched: usize,
    finalizers: BTreeMap<String, usize>,
}

fn look(client: Client, key: Key, view: View) -> BoxFuture<'static, orlop_client::Result<View>> {
    Box::pin(async move {
        let namespace = view.subject::<Namespace>(&key).filter(|n| n.metadata.deletion_timestamp.is_some()).cloned();
        let Some(namespace) = namespace else { return Ok(view) };
        Ok(view.with(contents(&client, namespace.name()).await?))
    })
}

async fn contents(client: &Client, namespace: &str) -> orlop_client::Result<Contents> {
    let mut contents = Contents::default();
    let discovery = discover(client).await?;
    if !discovery.stale.is_empty() {
        let groups = discovery.stale.join(", ");
        let text = format!("Discovery failed for some groups, {} failing: {groups}", discovery.stale.len());
        contents.discovery_failure = Some(text);
    }
    let mut failures = Vec::new();
    for served in discovery.resources.into_iter().filter(|s| s.resource.namespaced && s.can("list") && s.can("delete"))
    {
        let can_delete_collection = served.can("deletecollection");
        match remaining(client, namespace, served.resource, can_delete_collection).await {
            Ok(Some(remaining)) => contents.remaining.push(remaining),
            Ok(None) => {}
            Err(error) => failures.push(orlop_base::error::chain(&error)),
        }
    }
    if !failures.is_empty() {
        contents.content_failure =
            Some(format!("Failed to list all resource types, {} failing: {}", failures.len(), failures.join(", ")));
    }
    Ok(contents)
}

async fn remaining(
    client: &Client,
    namespace: &str,
    resource: Resource,
    can_delete_collection: bool,
) -> orlop_client::Result<Option<Remaining>> {
    let list = client.dynamic(&resource, namespace).list_all(&ListOptions::default()).await?;
    if list.items.is_empty() {
        return Ok(None);
    }
    let (mut finalizers, mut untouched) = (BTreeMap::new(), 0);
    for item in &list.items {
        untouched += usize::from(!orlop_api::meta::is_terminating(&item.0));
        for finalizer in item.0["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            *finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
    Ok(Some(Remaining { resource, can_delete_collection, count: list.items.len(), untouched, finalizers }))
}

fn decide(key: &Key, view: &View, now: Timestamp) -> Plan {
    let Some(namespace) = view.subject::<Namespace>(key).filter(|n| n.metadata.deletion_timestamp.is_some()) else {
        return Plan::none();
    };
    let held =
        namespace.spec.as_ref().and_then(|s| s.finalizers.as_ref()).is_some_and(|f| f.iter().any(|f| f == FINALIZER));
    let Some(contents) = view.facts::<Contents>().filter(|_| held) else { return Plan::none() };
    let mut plan = Plan::none();
    if let Some(updated) = with_conditions(namespace, contents, view.failure().map(|f| f.message.clone()), now) {
        plan.write(Write::update_status(&updated));
    }
    let complete = contents.discovery_failure.is_none() && contents.content_failure.is_none();
    if contents.remaining.is_empty() && complete {
        // Its own write: the finalizer goes by what the status update leaves behind.
        if plan.steps.is_empty() {
            plan.write(Write::update_subresource(&without_finalizer(namespace), "finalize").gone_is_fine());
        } else {
            plan.wake_by(now);
        }
        return plan;
    }
    let pods_first = contents.remaining.iter().any(|r| is_pods(&r.resource));
    let due = contents.remaining.iter().filter(|r| r.untouched > 0 && (!pods_first || is_pods(&r.resource)));
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    let deletions: Vec<Write> = due
        .filter(|r| r.can_delete_collection)
        .map(|r| Write::delete_collection(&r.resource, namespace.name(), options.clone()))
        .collect();
    if deletions.is_empty() {
        // All are on their way: pods wake us as they go, what finalizers hold is asked for again.
        plan.retry = Some("waiting for contents to go".into());
    } else {
        plan.steps.push(Step::Together(deletions));
        plan.wake_by(now);
    }
    plan
}

fn is_pods(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "pods"
}

fn without_finalizer(namespace: &Namespace) -> Namespace {
    let mut namespace = namespace.clone();
    if let Some(finalizers) = namespace.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
        finalizers.retain(|f| f != FINALIZER);
    }
    namespace
}

/// The namespace with its phase and all five conditions right, or `None` when they are already.
fn with_conditions(
    namespace: &Namespace,
    contents: &Contents,
    failure: Option<String>,
    now: Timestamp,
) -> Option<Namespace> {
    let mut updated = namespace.clone();
    let status = updated.status.get_or_insert_default();
    status.phase = Some("Terminating".into());
    let conditions = status.conditions.get_or_insert_default();
    for (ty, wanted, fine) in judge(contents, failure) {
        let (state, reason, message) = match wanted {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine.0, fine.1.to_owned()),
        };
        let known = conditions.iter().position(|c| c.type_ == ty);
        let since = known.and_then(|i| {
            let old = &conditions[i];
            (old.status == state).then(|| old.last_transition_time.clone()).flatten()
        });
        let condition = NamespaceCondition {
            type_: ty.to_owned(),
            status: state.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        };
        match known {
            Some(i) => conditions[i] = condition,
            None => conditions.push(condition),
        }
    }
    (updated != *namespace).then_some(updated)
}

type Judged = (&'static str, Option<(&'static str, String)>, (&'static str, &'static str));

/// Each condition type with what is wrong, and what to say when nothing is.
fn judge(contents: &Contents, failure: Option<String>) -> [Judged; 5] {
    let totals = |entries: Vec<String>| (!entries.is_empty()).then(|| entries.join(", "));
    let mut counts: Vec<String> = contents
        .remaining
        .iter()
        .map(|r| format!("{}.{} has {} resource instances", r.resource.plural, r.resource.group, r.count))
        .collect();
    counts.sort();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in contents.remaining.iter().flat_map(|r| &r.finalizers) {
        *finalizers.entry(finalizer).or_default() += count;
    }
    let holding = finalizers.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
    let failed = failure
        .map(|text| format!("Failed to delete all resource types, 1 remaining: {text}"))
        .or_else(|| contents.content_failure.clone());
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            contents.discovery_failure.clone().map(|text| ("DiscoveryFailed", text)),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            failed.map(|text| ("ContentDeletionFailed", text)),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            totals(counts).map(|text| ("SomeResourcesRemain", format!("Some resources are remaining: {text}"))),
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            totals(holding).map(|text| {
                ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {text}"))
            }),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(plural: &'static str) -> Resource {
        Resource { group: "".into(), version: "v1".into(), plural: plural.into(), kind: "X".into(), namespaced: true }
    }

    fn left(plural: &'static str, count: usize, untouched: usize, finalizers: &[(&str, usize)]) -> Remaining {
        let finalizers = finalizers.iter().map(|(f, n)| ((*f).to_owned(), *n)).collect();
        Remaining { resource: resource(plural), can_delete_collection: true, count, untouched, finalizers }
    }

    fn namespace() -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "u", "resourceVersion": "1",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"finalizers": ["kubernetes", "other"]}})
    }

    fn plan(namespace: &Value, contents: Contents) -> Plan {
        let view = controller().view_of(std::slice::from_ref(namespace)).with(contents);
        decide(&Key::new("", "shop"), &view, Timestamp::UNIX_EPOCH)
    }

    fn after_status(contents: &Contents) -> Plan {
        let first = plan(&namespace(), contents.clone());
        let write = first.writes().next().unwrap();
        assert_eq!(write.to_string(), "update namespaces/status shop");
        plan(&write.body(), contents.clone())
    }

    #[test]
    fn pods_go_first_then_the_rest() {
        let both =
            Contents { remaining: vec![left("configmaps", 2, 2, &[]), left("pods", 1, 1, &[])], ..Contents::default() };
        assert_eq!(after_status(&both).lines(), ["deletecollection pods shop", "wake 1970-01-01T00:00:00Z"]);
        let rest = Contents { remaining: vec![left("configmaps", 2, 2, &[])], ..Contents::default() };
        assert_eq!(after_status(&rest).lines(), ["deletecollection configmaps shop", "wake 1970-01-01T00:00:00Z"]);
    }

    #[test]
    fn what_holds_it_stands_in_the_conditions() {
        let held = Contents { remaining: vec![left("configmaps", 2, 0, &[("x.io/f", 2)])], ..Contents::default() };
        let first = plan(&namespace(), held.clone());
        let body = first.writes().next().unwrap().body();
        let message = |ty: &str| {
            let conditions = body["status"]["conditions"].as_array().unwrap();
            conditions.iter().find(|c| c["type"] == ty).unwrap()["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: configmaps. has 2 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: x.io/f in 2 resource instances"
        );
        assert_eq!(after_status(&held).lines(), ["retry waiting for contents to go"]);
    }

    #[test]
    fn an_empty_namespace_is_let_go() {
        let plan = after_status(&Contents::default());
        assert_eq!(plan.lines(), ["update namespaces/finalize shop"]);
        assert_eq!(plan.writes().next().unwrap().body()["spec"]["finalizers"], json!(["other"]));
        let mut done = namespace();
        done["spec"]["finalizers"] = json!(["other"]);
        assert!(
            super::decide(&Key::new("", "shop"), &controller().view_of(&[done]), Timestamp::UNIX_EPOCH).is_converged()
        );
    }

    #[test]
    fn failures_are_told_and_keep_it_from_going() {
        let unknown = Contents {
            discovery_failure: Some("Discovery failed for some groups, 1 failing: x/v1".into()),
            ..Contents::default()
        };
        let plan = after_status(&unknown);
        assert_eq!(plan.lines(), ["retry waiting for contents to go"]);
    }
}
