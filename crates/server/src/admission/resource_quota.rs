//! Nothing is made that a namespace's quotas have no room for; what is made is charged at once
//! (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`).

use futures_util::future::BoxFuture;
use orlop_api::quota::Evaluator;
use orlop_api::resource_list::ResourceList;
use orlop_api::status::StatusError;
use orlop_api::{Value, meta};
use orlop_base::clock;

use super::{Attributes, Operation, Plugin};
use crate::resource::parse_stored;
use crate::{Server, verbs};

pub struct ResourceQuota;

const QUOTAS: &str = "resourcequotas";

impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, a: &Attributes) -> bool {
        !a.namespace.is_empty()
            && !a.is("", "namespaces")
            && matches!(a.operation, Operation::Create | Operation::Update)
    }

    fn validate<'a>(&'a self, server: &'a Server, a: &'a Attributes) -> BoxFuture<'a, Result<(), StatusError>> {
        Box::pin(async move {
            let info = a.resource.info();
            match Evaluator::of(&info.group, &info.plural) {
                Some(evaluator) if changes_usage(&evaluator, a) => charge(server, &evaluator, a).await,
                _ => Ok(()),
            }
        })
    }
}

fn changes_usage(evaluator: &Evaluator, a: &Attributes) -> bool {
    let old = a.old_object.as_deref().unwrap_or(&Value::Null);
    let differs = |pointer: &str| a.object.pointer(pointer) != old.pointer(pointer);
    match (evaluator, &*a.subresource, a.operation) {
        (_, "", Operation::Create) => true,
        (Evaluator::Pods, "", _) => differs("/spec/activeDeadlineSeconds"),
        (Evaluator::Pods, "resize", Operation::Update) => true,
        (Evaluator::Services | Evaluator::PersistentVolumeClaims, "", _) => true,
        (Evaluator::PersistentVolumeClaims, "status", _) => {
            differs("/status/allocatedResources/storage")
                || differs("/status/currentVolumeAttributesClassName")
                || differs("/status/modifyVolumeStatus")
        }
        _ => false,
    }
}

/// Checks all quotas before any is charged. What a later failure leaves charged, the controller recounts.
async fn charge(server: &Server, evaluator: &Evaluator, a: &Attributes) -> Result<(), StatusError> {
    let quotas = server.resource("", "v1", QUOTAS).ok_or_else(StatusError::path_not_found)?;
    let snapshot = server.store.snapshot();
    let names: Vec<String> =
        snapshot.range(QUOTAS, Some(&a.namespace), None).map(|entry| entry.key.name.to_string()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let now = clock::unix_seconds();
    let mut charged = Vec::new();
    for name in names {
        // The newest state: other requests may have charged it a moment ago.
        let Some(entry) = server.store.newest(&quotas.key(&a.namespace, &name)) else { continue };
        if let Some(used) = decide(evaluator, a, &parse_stored(&entry)?, now)? {
            charged.push((name, used));
        }
    }
    if a.dry_run {
        return Ok(());
    }
    for (name, _) in charged {
        let again = |quota: &mut Value| {
            if let Some(used) = decide(evaluator, a, quota, now)? {
                meta::child_mut(quota, "status").insert("used".into(), used.to_value());
            }
            Ok(())
        };
        match verbs::modify(server, &quotas, (&a.namespace, &name), false, again).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What the quota's `status.used` becomes; `None` when the request does not touch it.
fn decide(evaluator: &Evaluator, a: &Attributes, quota: &Value, now: i64) -> Result<Option<ResourceList>, StatusError> {
    if !evaluator.matches(quota, &a.object) {
        return Ok(None);
    }
    let name = meta::name(quota);
    let (hard, mut used) = (ResourceList::read(&quota["status"]["hard"]), ResourceList::read(&quota["status"]["used"]));
    evaluator.check(quota, &a.object).map_err(|why| a.forbidden(&format!("failed quota: {name}: {why}")))?;
    let tracked: Vec<&str> = hard.names().filter(|name| evaluator.tracks(name)).collect();
    if tracked.iter().any(|name| used.get(name).is_none()) {
        return Err(a.forbidden(&format!("status unknown for quota: {name}, resources: {}", tracked.join(","))));
    }
    let mut delta = evaluator.usage(&a.object, now);
    let negative: Vec<&str> = delta.iter().filter(|(_, amount)| amount.sign() < 0).map(|(name, _)| name).collect();
    if !negative.is_empty() {
        return Err(a.forbidden(&format!("quota usage is negative for resource(s): {}", negative.join(","))));
    }
    if let Some(old) = a.old_object.as_deref().filter(|old| evaluator.matches(quota, old)) {
        delta.subtract_to_zero(&evaluator.usage(old, now));
    }
    delta.retain(|_, amount| !amount.is_zero());
    if delta.is_empty() {
        return Ok(None);
    }
    let requested = delta.mask(hard.names());
    let before = used.clone();
    used.add(&requested);
    let exceeded = used.mask(requested.names());
    let exceeded = exceeded.exceeding(&hard);
    if a.subresource != "status" && !exceeded.is_empty() {
        let show = |list: &ResourceList| list.mask(exceeded.iter().copied()).to_string();
        return Err(a.forbidden(&format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&requested),
            show(&before),
            show(&hard)
        )));
    }
    Ok((used != before).then_some(used))
}
