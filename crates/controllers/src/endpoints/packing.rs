//! Fits endpoints into slices so that few slices change: a change of one costs every node a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::typed::k8s_openapi::api::discovery::v1::Endpoint;
use orlop_api::typed::kinds::EndpointSlice;

/// Upstream's `--max-endpoints-per-slice`.
pub const MAX_ENDPOINTS: usize = 100;

/// What makes an endpoint the same one: addresses, host name, the pod's namespace and name. All else
/// may change in place.
pub type EndpointKey = (Vec<String>, Option<String>, Option<String>, Option<String>);

pub fn key_of(endpoint: &Endpoint) -> EndpointKey {
    let mut addresses = endpoint.addresses.clone();
    addresses.sort();
    let target = endpoint.target_ref.as_ref();
    (
        addresses,
        endpoint.hostname.clone(),
        target.and_then(|t| t.namespace.clone()),
        target.and_then(|t| t.name.clone()),
    )
}

/// A slice to write.
#[derive(Clone)]
pub struct Draft {
    /// The slice it replaces; `None` for a new one.
    pub base: Option<Arc<EndpointSlice>>,
    /// Everything but the endpoints.
    pub slice: EndpointSlice,
    pub endpoints: Vec<Endpoint>,
}

impl Draft {
    fn of(slice: &Arc<EndpointSlice>, endpoints: Vec<Endpoint>) -> Self {
        Self { base: Some(slice.clone()), slice: EndpointSlice { endpoints: None, ..(**slice).clone() }, endpoints }
    }

    /// The object to send: under the identity of what it replaces.
    pub fn into_slice(self) -> EndpointSlice {
        let mut slice = EndpointSlice { endpoints: Some(self.endpoints), ..self.slice };
        if let Some(base) = self.base {
            let labels = slice.metadata.labels.take();
            slice.metadata = base.metadata.clone();
            slice.metadata.labels = labels;
        }
        slice
    }
}

/// What to do with the slices of one set of ports.
#[derive(Default)]
pub struct Packed {
    pub create: Vec<Draft>,
    pub update: Vec<Draft>,
    pub delete: Vec<Arc<EndpointSlice>>,
    /// Endpoints that are new or no longer what they were.
    pub changed: Vec<EndpointKey>,
}

/// `labels` yields the labels a slice should have when they are wrong; `fresh` makes an empty slice.
pub fn pack(
    existing: Vec<Arc<EndpointSlice>>,
    mut wanted: BTreeMap<EndpointKey, Endpoint>,
    labels: impl Fn(&EndpointSlice) -> Option<BTreeMap<String, String>>,
    fresh: impl Fn() -> Draft,
) -> Packed {
    let mut packed = Packed::default();
    let mut untouched = Vec::new();
    for slice in existing {
        let old = slice.endpoints.as_deref().unwrap_or_default();
        let (mut kept, mut changed) = (Vec::with_capacity(old.len()), false);
        for endpoint in old {
            let key = key_of(endpoint);
            if let Some(mut now) = wanted.remove(&key) {
                if !same_beyond_key(endpoint, &now) {
                    changed = true;
                    packed.changed.push(key);
                }
                // Routing hints are not this controller's to drop.
                now.hints.clone_from(&endpoint.hints);
                kept.push(now);
            }
        }
        let shrunk = kept.len() < old.len();
        let relabelled = labels(&slice);
        if shrunk && kept.is_empty() {
            packed.delete.push(slice);
        } else if changed || shrunk || relabelled.is_some() {
            let mut draft = Draft::of(&slice, kept);
            if let Some(labels) = relabelled {
                draft.slice.metadata.labels = Some(labels);
            }
            packed.update.push(draft);
        } else {
            untouched.push(slice);
        }
    }
    packed.changed.extend(wanted.keys().cloned());
    // Slices that change anyway take what there is room for, the fullest first.
    packed.update.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
    for draft in &mut packed.update {
        fill(draft, &mut wanted);
    }
    while !wanted.is_empty() {
        let mut draft = match take_best_fit(&mut untouched, wanted.len()) {
            Some(slice) => Draft::of(&slice, slice.endpoints.clone().unwrap_or_default()),
            None => fresh(),
        };
        fill(&mut draft, &mut wanted);
        if draft.base.is_some() { packed.update.push(draft) } else { packed.create.push(draft) }
    }
    packed
}

fn fill(draft: &mut Draft, wanted: &mut BTreeMap<EndpointKey, Endpoint>) {
    while draft.endpoints.len() < MAX_ENDPOINTS
        && let Some((_, endpoint)) = wanted.pop_first()
    {
        draft.endpoints.push(endpoint);
    }
}

/// The untouched slice that `count` more endpoints would fill best.
fn take_best_fit(untouched: &mut Vec<Arc<EndpointSlice>>, count: usize) -> Option<Arc<EndpointSlice>> {
    let room = |slice: &EndpointSlice| MAX_ENDPOINTS.checked_sub(count + slice.endpoints.as_ref().map_or(0, Vec::len));
    let best = (0..untouched.len()).filter_map(|at| Some((room(&untouched[at])?, at))).min()?;
    // One that would stay as empty as a new slice is no gain.
    (best.0 < MAX_ENDPOINTS && count < MAX_ENDPOINTS).then(|| untouched.remove(best.1))
}

fn same_beyond_key(a: &Endpoint, b: &Endpoint) -> bool {
    let uid = |e: &Endpoint| e.target_ref.as_ref().map(|t| (t.kind.clone(), t.uid.clone()));
    a.conditions == b.conditions && a.node_name == b.node_name && a.zone == b.zone && uid(a) == uid(b)
}
