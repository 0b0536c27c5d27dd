//! podCertificate: a key made here and certificates that a signer issues for it (KEP-4317).
//!
//! Nothing outlives this agent: after a restart every volume asks anew. A signer's answer wakes the
//! pod, whose volumes are then looked at again.

mod request;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use orlop_api::typed::kinds::PodCertificateRequest;
use orlop_client::Resource;
use orlop_client::cache::{Cache, Factory, Observer, Selection};
use orlop_client::events::EventType;

use super::Setup;
use crate::corev1::PodCertificateProjection;
use crate::objects::FIRST_LOOK;
use crate::pods::Wakers;
use state::{Next, State};

/// Pod uid, volume, index of the source in it.
type Key = (String, String, usize);

pub struct PodCertificates {
    factory: Factory,
    wakers: Arc<Wakers>,
    node_name: String,
    /// Requests of this node's pods, watched from the first pod that needs one.
    watched: OnceLock<(Cache<PodCertificateRequest>, Observer)>,
    states: Mutex<BTreeMap<Key, State>>,
}

/// What a volume shows: PEM.
pub struct Credential {
    pub key: String,
    pub chain: String,
    pub refresh_nanos: Option<i64>,
}

impl PodCertificates {
    pub fn new(factory: &Factory, wakers: &Arc<Wakers>, node_name: &str) -> Self {
        let (factory, wakers, node_name) = (factory.clone(), wakers.clone(), node_name.to_owned());
        Self { factory, wakers, node_name, watched: OnceLock::new(), states: Mutex::default() }
    }

    pub fn forget(&self, pod_uid: &str) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).retain(|(uid, ..), _| uid != pod_uid);
    }

    fn requests(&self) -> &Cache<PodCertificateRequest> {
        let (cache, _) = self.watched.get_or_init(|| {
            let own = Selection::fields(format!("spec.nodeName={}", self.node_name));
            let cache: Cache<PodCertificateRequest> =
                self.factory.cache_of(&Resource::of::<PodCertificateRequest>(), &own);
            let wake = self.wakers.clone();
            let observer = cache.observe(move |delta| wake.content_changed(&delta.object().spec.pod_uid));
            (cache, observer)
        });
        cache
    }

    fn state(&self, key: &Key) -> State {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }

    fn set_state(&self, key: Key, state: State) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(key, state);
    }
}

/// The credential of one source; asks for a certificate where none is good for long.
pub async fn get(
    setup: &Setup<'_>,
    source: &PodCertificateProjection,
    (volume, index): (&str, usize),
) -> Result<Credential, String> {
    let certificates = &setup.context.objects.certificates;
    let cache = certificates.requests();
    if tokio::time::timeout(FIRST_LOOK, cache.synced()).await.is_err() {
        return Err("PodCertificateRequest informer has not yet synced".to_owned());
    }
    let key = (setup.pod.uid().to_owned(), volume.to_owned(), index);
    let mut state = certificates.state(&key);
    let seen = state.asked().and_then(|name| cache.get(setup.pod.namespace(), name));
    match state.next(seen.as_deref(), setup.now) {
        Next::Wait => {}
        Next::Ask => state.ask(request::make(setup, source).await?),
        Next::Refused { event, message } => {
            setup.context.pod_event(setup.pod, EventType::Warning, event, message);
        }
    }
    for (reason, message) in state.notices(setup.now) {
        setup.context.pod_event(setup.pod, EventType::Warning, reason, message);
    }
    let credential = state.credential(setup.now);
    certificates.set_state(key, state);
    credential
}
