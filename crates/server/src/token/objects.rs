//! Whether the objects that a token names are still there.

use orlop_store::{Revision, Snapshot};
use serde::Deserialize;

use super::claims::{Claims, Invalid, LEEWAY_SECONDS};

/// What is read of an object; the rest of its JSON is skipped.
#[derive(Deserialize)]
struct Head {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: String,
    deletion_timestamp: Option<String>,
}

/// The objects that vouched for a token, as they were then: resource, namespace, name, revision.
/// While none of them has changed, a token that was good is good.
pub type Vouchers = Vec<(&'static str, String, String, Revision)>;

pub fn unchanged(vouchers: &Vouchers, snapshot: &Snapshot) -> bool {
    vouchers.iter().all(|(resource, namespace, name, revision)| {
        snapshot.get(resource, namespace, name).is_some_and(|entry| entry.revision == *revision)
    })
}

/// Checks every object the claims name.
pub fn check(claims: &Claims, snapshot: &Snapshot, now: i64) -> Result<Vouchers, Invalid> {
    let mut vouchers = Vec::new();
    let mut find = |resource: &'static str, namespace: &str, name: &str| {
        let entry = snapshot.get(resource, namespace, name)?;
        let head: Head = serde_json::from_slice(&entry.json).ok()?;
        vouchers.push((resource, namespace.to_owned(), name.to_owned(), entry.revision));
        Some(head.metadata)
    };
    let namespace = &claims.namespace;
    let account = &claims.service_account;
    let found = find("serviceaccounts", namespace, &account.name)
        .ok_or_else(|| format!("serviceaccounts {:?} not found", account.name))?;
    if found.uid != account.uid {
        return Err(format!("service account UID ({}) does not match claim ({})", found.uid, account.uid).into());
    }
    if is_gone(&found, now) {
        return Err(format!("service account {namespace}/{} has been deleted", account.name).into());
    }
    // The node of a pod is only told, not bound to.
    let node = claims.node.as_ref().filter(|_| claims.pod.is_none());
    let bound = [
        ("secrets", "secret", &**namespace, claims.secret.as_ref()),
        ("pods", "pod", namespace, claims.pod.as_ref()),
        ("nodes", "node", "", node),
    ];
    for (resource, what, namespace, reference) in bound {
        let Some(reference) = reference else { continue };
        let invalidated = || Invalid::from("service account token has been invalidated");
        let found = find(resource, namespace, &reference.name).ok_or_else(invalidated)?;
        if found.uid != reference.uid {
            let (have, claimed) = (&found.uid, &reference.uid);
            return Err(
                format!("{what} UID ({have}) does not match service account {what} ref claim ({claimed})").into()
            );
        }
        if is_gone(&found, now) {
            return Err(invalidated());
        }
    }
    Ok(vouchers)
}

/// Deleted for longer than clocks may differ. A pod's deletion lies ahead by its grace period.
fn is_gone(object: &Metadata, now: i64) -> bool {
    let deletion = object.deletion_timestamp.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    deletion.is_some_and(|deletion| deletion.as_second() < now - LEEWAY_SECONDS)
}
