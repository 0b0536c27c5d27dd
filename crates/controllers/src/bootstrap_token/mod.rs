//! Bootstrap tokens: Secrets in `kube-system` by which a machine gets to know a cluster and joins it
//! (`k8s.io/cluster-bootstrap`, KEP-43). They vouch for the ConfigMap `cluster-info`, and go when their time is over.

pub mod cleaner;
mod signature;
pub mod signer;

use jiff::Timestamp;
use orlop_api::typed::kinds::Secret;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE) && secret.metadata.namespace.as_deref() == Some(NAMESPACE)
}

/// A value of the Secret as text; empty without one.
fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
}

/// When a token's time is over: never, then, or, where the time cannot be read, at once.
fn expiration(secret: &Secret) -> Option<Timestamp> {
    match text(secret, "expiration") {
        "" => None,
        time => Some(time.parse().unwrap_or(Timestamp::MIN)),
    }
}
