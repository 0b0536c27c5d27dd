//! clusterTrustBundle: certificates to trust, by a bundle's name or by its signer and labels (KEP-3257).

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use orlop_api::selector::Selector;
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::ClusterTrustBundle;
use orlop_client::cache::{Cache, Factory, Observer};

use super::{Setup, pem};
use crate::corev1::ClusterTrustBundleProjection;
use crate::objects::FIRST_LOOK;
use crate::pods::Wakers;

/// All bundles, watched from the first pod that asks for one.
pub struct TrustBundles {
    factory: Factory,
    wakers: Arc<Wakers>,
    watched: OnceLock<(Cache<ClusterTrustBundle>, Observer)>,
    users: Arc<Mutex<BTreeSet<String>>>,
    /// Another order of the same certificates after every start: nobody is to rely on one.
    order: RandomState,
}

impl TrustBundles {
    pub fn new(factory: &Factory, wakers: &Arc<Wakers>) -> Self {
        let (factory, wakers) = (factory.clone(), wakers.clone());
        Self { factory, wakers, watched: OnceLock::new(), users: Arc::default(), order: RandomState::new() }
    }

    pub fn forget(&self, pod_uid: &str) {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).remove(pod_uid);
    }

    fn watch(&self, pod_uid: &str) -> &Cache<ClusterTrustBundle> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(pod_uid.to_owned());
        let (cache, _) = self.watched.get_or_init(|| {
            let cache: Cache<ClusterTrustBundle> = self.factory.cache();
            let (wake, told) = (self.wakers.clone(), self.users.clone());
            let observer = cache.observe(move |_| {
                for uid in told.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    wake.content_changed(uid);
                }
            });
            (cache, observer)
        });
        cache
    }

    /// Every certificate once.
    fn merged(&self, bundles: &[&ClusterTrustBundle]) -> String {
        let mut certificates: Vec<_> = bundles.iter().flat_map(|b| pem::certificates(&b.spec.trust_bundle)).collect();
        certificates.sort_by_cached_key(|certificate| (self.order.hash_one(certificate), certificate.to_vec()));
        certificates.dedup();
        pem::encode(&certificates)
    }
}

pub async fn content(setup: &Setup<'_>, source: &ClusterTrustBundleProjection) -> Result<Vec<u8>, String> {
    let bundles = &setup.context.objects.trust_bundles;
    let cache = bundles.watch(setup.pod.uid());
    if tokio::time::timeout(FIRST_LOOK, cache.synced()).await.is_err() {
        return Err("ClusterTrustBundle informer has not yet synced".to_owned());
    }
    let all = cache.snapshot();
    let chosen = chosen(all.iter().map(|bundle| &**bundle), source)?;
    Ok(bundles.merged(&chosen).into_bytes())
}

fn chosen<'a>(
    mut all: impl Iterator<Item = &'a ClusterTrustBundle>,
    source: &ClusterTrustBundleProjection,
) -> Result<Vec<&'a ClusterTrustBundle>, String> {
    let optional = source.optional == Some(true);
    if let Some(name) = &source.name {
        let found = all.find(|bundle| bundle.name() == name);
        let missing =
            || format!("while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io \"{name}\" not found");
        return if found.is_none() && !optional { Err(missing()) } else { Ok(found.into_iter().collect()) };
    }
    let Some(signer) = &source.signer_name else {
        return Err("ClusterTrustBundle projection requires either name or signerName to be set".to_owned());
    };
    // No selector selects nothing, an empty one everything.
    let selector = source.label_selector.as_ref().map(Selector::from_typed).transpose();
    let selector = selector.map_err(|error| format!("while parsing label selector: {error}"))?;
    let fits = |bundle: &&ClusterTrustBundle| {
        bundle.spec.signer_name.as_ref() == Some(signer)
            && selector.as_ref().is_some_and(|s| s.matches_opt(bundle.metadata.labels.as_ref()))
    };
    let found: Vec<_> = all.filter(fits).collect();
    if found.is_empty() && !optional {
        return Err("combination of signerName and labelSelector matched zero ClusterTrustBundles".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bundle(name: &str, signer: Option<&str>, labels: Value) -> ClusterTrustBundle {
        let object = json!({"metadata": {"name": name, "labels": labels},
            "spec": {"signerName": signer, "trustBundle": ""}});
        ClusterTrustBundle::decode(object.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn by_name_or_by_signer_and_labels() {
        let all = [
            bundle("own", None, json!({})),
            bundle("s.io:s:a", Some("s.io/s"), json!({"env": "a"})),
            bundle("s.io:s:b", Some("s.io/s"), json!({"env": "b"})),
            bundle("t.io:t:a", Some("t.io/t"), json!({"env": "a"})),
        ];
        for (source, expected) in [
            (json!({"name": "own"}), Ok(vec!["own"])),
            (json!({"name": "x", "optional": true}), Ok(vec![])),
            (
                json!({"name": "x"}),
                Err("while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io \"x\" not found"),
            ),
            (json!({"signerName": "s.io/s", "labelSelector": {}}), Ok(vec!["s.io:s:a", "s.io:s:b"])),
            (json!({"signerName": "s.io/s", "labelSelector": {"matchLabels": {"env": "b"}}}), Ok(vec!["s.io:s:b"])),
            (json!({"signerName": "s.io/s", "optional": true}), Ok(vec![])),
            (
                json!({"signerName": "s.io/s"}),
                Err("combination of signerName and labelSelector matched zero ClusterTrustBundles"),
            ),
            (json!({}), Err("ClusterTrustBundle projection requires either name or signerName to be set")),
        ] {
            let mut source = source;
            source["path"] = "p".into();
            let source: ClusterTrustBundleProjection = serde_json::from_value(source).unwrap();
            let found = chosen(all.iter(), &source).map(|found| found.iter().map(|b| b.name()).collect::<Vec<_>>());
            assert_eq!(found, expected.map_err(str::to_owned));
        }
    }
}
