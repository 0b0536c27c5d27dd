//! Pods that other pods cannot tell apart, as those of one ReplicaSet: what is true of one is true of all, so that a
//! decision asks once for each kin instead of once for each pod.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::core::v1::PodSpec;
use orlop_api::typed::kinds::Pod;

use crate::affinity::Affinity;

/// See the module.
#[derive(Debug)]
pub struct Kin {
    id: u64,
    /// Any of them.
    pod: Arc<Pod>,
    pub affinity: Affinity,
}

impl Kin {
    fn new(pod: Arc<Pod>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let empty = PodSpec::default();
        let affinity = Affinity::of(pod.spec.as_ref().unwrap_or(&empty), pod.namespace());
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), pod, affinity }
    }

    pub fn namespace(&self) -> &str {
        self.pod.namespace()
    }

    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.pod.metadata.labels.as_ref()
    }

    pub fn is_leaving(&self) -> bool {
        is_leaving(&self.pod)
    }
}

fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn affinity(pod: &Pod) -> Option<&orlop_api::typed::k8s_openapi::api::core::v1::Affinity> {
    pod.spec.as_ref()?.affinity.as_ref()
}

/// Namespace, labels, whether they are leaving.
type Looks = (String, Option<BTreeMap<String, String>>, bool);

/// Every kin that there are pods of.
#[derive(Default)]
pub struct Families {
    known: BTreeMap<Looks, Vec<Weak<Kin>>>,
    /// Looks to have before those without pods are forgotten.
    enough: usize,
}

/// Fewer are not worth a search for forgotten ones.
const FEW: usize = 64;

impl Families {
    pub fn kin_of(&mut self, pod: &Arc<Pod>) -> Arc<Kin> {
        let looks = (pod.namespace().to_owned(), pod.metadata.labels.clone(), is_leaving(pod));
        let alike = self.known.entry(looks).or_default();
        if let Some(kin) = alike.iter().filter_map(Weak::upgrade).find(|kin| affinity(&kin.pod) == affinity(pod)) {
            return kin;
        }
        let kin = Arc::new(Kin::new(pod.clone()));
        alike.retain(|kin| kin.strong_count() > 0);
        alike.push(Arc::downgrade(&kin));
        if self.known.len() > self.enough {
            self.known.retain(|_, alike| alike.iter().any(|kin| kin.strong_count() > 0));
            self.enough = self.known.len() * 2 + FEW;
        }
        kin
    }
}

/// How many pods of each kin there are in one place.
#[derive(Clone, Debug, Default)]
pub struct Census(Vec<(Arc<Kin>, i64)>);

impl Census {
    pub fn add(&mut self, kin: &Arc<Kin>) {
        match self.0.iter_mut().find(|(known, _)| known.id == kin.id) {
            Some((_, count)) => *count += 1,
            None => self.0.push((kin.clone(), 1)),
        }
    }

    pub fn remove(&mut self, kin: &Kin) {
        let Some(at) = self.0.iter().position(|(known, _)| known.id == kin.id) else { return };
        self.0[at].1 -= 1;
        if self.0[at].1 == 0 {
            self.0.swap_remove(at);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Kin>, i64)> {
        self.0.iter().map(|(kin, count)| (kin, *count))
    }
}

/// What one decision found out about kin.
#[derive(Default)]
pub struct Remembered<T>(RefCell<HashMap<u64, Rc<T>, BuildHasherDefault<ById>>>);

impl<T> Remembered<T> {
    pub fn get(&self, kin: &Kin, find_out: impl FnOnce(&Kin) -> T) -> Rc<T> {
        if let Some(known) = self.0.borrow().get(&kin.id) {
            return known.clone();
        }
        let found = Rc::new(find_out(kin));
        self.0.borrow_mut().insert(kin.id, found.clone());
        found
    }
}

/// Ids are counted up: spreading their bits is all the hashing they need.
#[derive(Default)]
pub struct ById(u64);

impl Hasher for ById {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio (Fibonacci hashing).
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn kin(families: &mut Families, extra: &Value) -> Arc<Kin> {
        let mut object = json!({"metadata": {"namespace": "d", "labels": {"app": "web"}}, "spec": {"containers": []}});
        for (field, value) in extra.as_object().unwrap() {
            object[field] = value.clone();
        }
        families.kin_of(&Arc::new(pod(object)))
    }

    #[test]
    fn only_what_others_see_tells_pods_apart() {
        let families = &mut Families::default();
        let first = kin(families, &json!({}));
        let spec = |affinity: Value| json!({"spec": {"containers": [{"name": "c"}], "affinity": affinity}});
        assert_eq!(kin(families, &json!({"spec": {"containers": [{"name": "other"}]}})).id, first.id);
        assert_ne!(kin(families, &json!({"metadata": {"namespace": "d"}})).id, first.id);
        assert_ne!(kin(families, &json!({"metadata": {"namespace": "e", "labels": {"app": "web"}}})).id, first.id);
        assert_ne!(kin(families, &spec(json!({"podAffinity": {}}))).id, first.id);
        drop(first);
        let again = kin(families, &json!({}));
        assert_eq!(kin(families, &json!({})).id, again.id, "a kin that died out may come again");
    }

    #[test]
    fn those_without_pods_are_forgotten() {
        let families = &mut Families::default();
        for n in 0..10 * FEW {
            kin(families, &json!({"metadata": {"namespace": n.to_string()}}));
        }
        assert!(families.known.len() <= 2 * FEW, "{}", families.known.len());
    }

    #[test]
    fn a_census_counts() {
        let families = &mut Families::default();
        let (a, b) = (kin(families, &json!({})), kin(families, &json!({"metadata": {"namespace": "d"}})));
        let mut census = Census::default();
        [&a, &b, &a].into_iter().for_each(|kin| census.add(kin));
        census.remove(&b);
        assert_eq!(census.iter().map(|(kin, n)| (kin.id, n)).collect::<Vec<_>>(), [(a.id, 2)]);
    }
}
