//! What plugins look up in the cluster: the server's store, in memory.

use orlop_api::{Value, meta, names};
use orlop_client::transport::UserInfo;

use crate::Server;
use crate::auth::Decision;
use crate::request::RequestInfo;

/// One object by its storage key.
pub fn find(server: &Server, resource: &str, namespace: &str, name: &str) -> Option<Value> {
    let key = orlop_store::Key { resource: resource.into(), namespace: namespace.into(), name: name.into() };
    serde_json::from_slice(&server.store.newest(&key)?.json).ok()
}

/// Why there cannot even be an object of this name: upstream's plugins ask a client, which says so.
pub fn no_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("resource name may not be empty".to_owned());
    }
    let problems = names::path_segment(name);
    (!problems.is_empty()).then(|| format!("invalid resource name {name:?}: [{}]", problems.join(" ")))
}

/// The class that an annotation makes the default: the newest, then the first by name.
pub fn default_class(server: &Server, resource: &str, annotations: &[&str]) -> Option<String> {
    let snapshot = server.store.snapshot();
    let classes = snapshot.range(resource, None, None).filter_map(|e| serde_json::from_slice::<Value>(&e.json).ok());
    let marked = |class: &Value| annotations.iter().any(|name| class["metadata"]["annotations"][*name] == "true");
    let newest = classes.filter(marked).min_by_key(|class| {
        (std::cmp::Reverse(meta::get(class, "creationTimestamp").to_owned()), meta::name(class).to_owned())
    });
    newest.map(|class| meta::name(&class).to_owned())
}

/// Whether a user may act (`approve`, `sign`, `attest`) for a signer, by its name or its domain
/// (`pkg/certauthorization`).
pub async fn may_for_signer(server: &Server, user: &UserInfo, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let request = RequestInfo {
            verb: verb.into(),
            is_resource: true,
            api_group: "certificates.k8s.io".into(),
            api_version: "*".into(),
            resource: "signers".into(),
            name,
            ..RequestInfo::default()
        };
        if matches!(server.authorizer.authorize(user, &request).await, Decision::Allow { .. }) {
            return true;
        }
    }
    false
}
