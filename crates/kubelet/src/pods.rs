//! The pods of this node: what is wanted of each, and how its worker is woken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::corev1::{Pod, PodStatus};
use crate::pod::spec::NodePod;
use crate::status::Verdict;

/// One pod as its sources, its worker and the server share it.
pub struct PodHandle {
    state: Mutex<Shared>,
    wake: Notify,
    content_changed: AtomicBool,
    /// Changes when the mirror does, or when the pod goes.
    mirror_changed: watch::Sender<()>,
    status_changed: watch::Sender<()>,
}

struct Shared {
    wish: Wish,
    /// What the worker last said of it.
    status: Arc<PodStatus>,
    /// Its containers can run no more: its resources are free for others.
    done: bool,
    /// The pod with the resources granted to it, where they are not those it asks for.
    granted: Option<Arc<NodePod>>,
    /// The API object that stands for a static pod.
    mirror: Option<Arc<Pod>>,
}

/// What is wanted of a pod.
#[derive(Clone)]
pub struct Wish {
    pub pod: Arc<NodePod>,
    /// Its source has it no more.
    pub gone: bool,
    /// The node wants it ended.
    pub verdict: Option<Verdict>,
    /// Seconds it is given, if not what its spec says.
    pub grace_seconds: Option<i64>,
    /// It never ran here: there is nothing to stop.
    pub rejected: bool,
}

impl PodHandle {
    pub fn new(pod: NodePod, rejection: Option<Verdict>) -> Self {
        let status = Arc::new(pod.api_status().clone());
        let rejected = rejection.is_some();
        let wish = Wish { pod: Arc::new(pod), gone: false, verdict: rejection, grace_seconds: None, rejected };
        let state = Mutex::new(Shared { wish, status, done: rejected, granted: None, mirror: None });
        Self {
            state,
            wake: Notify::new(),
            content_changed: AtomicBool::new(false),
            mirror_changed: watch::Sender::new(()),
            status_changed: watch::Sender::new(()),
        }
    }

    pub fn wish(&self) -> Wish {
        self.lock().wish.clone()
    }

    /// The pod as it runs: with the resources granted to it.
    pub fn pod(&self) -> Arc<NodePod> {
        let shared = self.lock();
        shared.granted.as_ref().unwrap_or(&shared.wish.pod).clone()
    }

    pub fn set_granted(&self, pod: Arc<NodePod>) {
        self.lock().granted = Some(pod);
    }

    /// The object whose status tells of this pod: itself, or its mirror, if it has one yet.
    pub fn api_object(&self, known: &Arc<Pod>) -> Option<Arc<Pod>> {
        let shared = self.lock();
        if shared.wish.pod.is_static() { shared.mirror.clone() } else { Some(known.clone()) }
    }

    pub fn mirror(&self) -> Option<Arc<Pod>> {
        self.lock().mirror.clone()
    }

    /// The API shows this mirror of a static pod, or none.
    pub fn set_mirror(&self, mirror: Option<Arc<Pod>>) {
        self.lock().mirror = mirror;
        self.mirror_changed.send_replace(());
        self.wake.notify_one();
    }

    pub fn mirror_changes(&self) -> watch::Receiver<()> {
        self.mirror_changed.subscribe()
    }

    /// The result of a write to the mirror.
    pub fn learn_mirror(&self, written: &Arc<Pod>) {
        let mut shared = self.lock();
        if shared.mirror.as_ref().is_some_and(|mirror| mirror.metadata.uid == written.metadata.uid) {
            shared.mirror = Some(written.clone());
        }
    }

    pub fn status(&self) -> Arc<PodStatus> {
        self.lock().status.clone()
    }

    pub fn is_done(&self) -> bool {
        self.lock().done
    }

    /// The pod's object changed.
    pub fn update(&self, pod: NodePod) {
        let mut shared = self.lock();
        shared.wish.pod = Arc::new(pod);
        shared.granted = None;
        drop(shared);
        self.wake.notify_one();
    }

    /// Its source has dropped it.
    pub fn remove(&self) {
        self.lock().wish.gone = true;
        self.mirror_changed.send_replace(());
        self.wake.notify_one();
    }

    /// Ends the pod for a reason of the node's; the first reason stays.
    pub fn end(&self, verdict: Verdict, grace_seconds: Option<i64>) {
        let mut shared = self.lock();
        if shared.wish.verdict.is_none() {
            shared.wish.verdict = Some(verdict);
            shared.wish.grace_seconds = grace_seconds;
        }
        drop(shared);
        self.wake.notify_one();
    }

    pub fn set_status(&self, status: Arc<PodStatus>, done: bool) {
        let mut shared = self.lock();
        let news = *shared.status != *status || done != shared.done;
        shared.status = status;
        shared.done |= done;
        drop(shared);
        if news {
            self.status_changed.send_replace(());
        }
    }

    /// Tells of every change of the status, for those who wait on the pod.
    pub fn status_changes(&self) -> watch::Receiver<()> {
        self.status_changed.subscribe()
    }

    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Something a volume shows has changed.
    fn content_changed(&self) {
        self.content_changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub fn take_content_changed(&self) -> bool {
        self.content_changed.swap(false, Ordering::AcqRel)
    }

    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All pods here, by uid.
#[derive(Default)]
pub struct Wakers {
    pods: Mutex<BTreeMap<String, Arc<PodHandle>>>,
}

impl Wakers {
    pub fn get(&self, uid: &str) -> Option<Arc<PodHandle>> {
        self.lock().get(uid).cloned()
    }

    pub fn insert(&self, uid: &str, handle: Arc<PodHandle>) {
        self.lock().insert(uid.to_owned(), handle);
    }

    pub fn remove(&self, uid: &str) {
        self.lock().remove(uid);
    }

    pub fn all(&self) -> Vec<Arc<PodHandle>> {
        self.lock().values().cloned().collect()
    }

    /// Every other pod that has a claim on the node. A pod that its source has dropped has none, though its
    /// containers may still be ending: the scheduler cannot see it (upstream's `GetActivePods`).
    pub fn claimants_beside(&self, uid: &str) -> Vec<Arc<NodePod>> {
        let others = self.all().into_iter().filter(|handle| !handle.is_done() && !handle.wish().gone);
        others.map(|handle| handle.pod()).filter(|other| other.uid() != uid).collect()
    }

    /// By namespace and name; of two with one name, the one that is not going.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodHandle>> {
        let mut named: Vec<Arc<PodHandle>> = self.all();
        named.retain(|handle| {
            let pod = handle.pod();
            pod.namespace() == namespace && pod.name() == name
        });
        named.sort_by_key(|handle| handle.wish().gone || handle.pod().is_deleted());
        named.into_iter().next()
    }

    pub fn wake(&self, uid: &str) {
        if let Some(handle) = self.get(uid) {
            handle.wake();
        }
    }

    pub fn content_changed(&self, uid: &str) {
        if let Some(handle) = self.get(uid) {
            handle.content_changed();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<PodHandle>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
