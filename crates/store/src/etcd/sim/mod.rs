//! An etcd cluster in memory: what the store sees of one, over connections in this process, in virtual time.
//!
//! The store's own client talks to it: HTTP/2, gRPC and protobuf are real, the members behind them are one
//! [`mvcc::Mvcc`]. It is as consistent as etcd is, and as unhelpful: connections break before and after a
//! request is carried out, requests are carried out long after anybody waits for them, there is no leader for
//! a while, watches are cancelled, what happened is forgotten.

mod mvcc;
mod serve;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rpc::Changed;
use crate::Revision;
use mvcc::Mvcc;

/// Room for what is under way on a connection.
const PIPE_BYTES: usize = 1 << 16;

/// What goes wrong from now on, of a thousand requests each.
#[derive(Clone, Debug, Default)]
pub struct EtcdFaults {
    /// Their connection breaks before they are carried out.
    pub lost: u32,
    /// They are carried out, and the connection breaks.
    pub unanswered: u32,
    /// They are carried out at some time, maybe when nobody waits any more.
    pub late: u32,
    pub late_max: Duration,
}

/// Clones are the same cluster, seen by the same process.
#[derive(Clone)]
pub struct SimEtcd {
    inner: Arc<Mutex<Inner>>,
    /// Tells watches of it.
    revision: Arc<watch::Sender<Revision>>,
    /// Whoever connects through this handle is no more.
    gone: CancellationToken,
}

struct Inner {
    mvcc: Mvcc,
    rng: fastrand::Rng,
    faults: EtcdFaults,
    leader_since: Instant,
    /// Of the connections there are.
    connected: CancellationToken,
}

impl Inner {
    fn new(seed: u64) -> Inner {
        Inner {
            mvcc: Mvcc::default(),
            rng: fastrand::Rng::with_seed(seed),
            faults: EtcdFaults::default(),
            leader_since: Instant::now(),
            connected: CancellationToken::new(),
        }
    }
}

/// What becomes of a request.
enum Fate {
    Answered,
    Lost,
    Unanswered,
    Late(Duration),
}

impl SimEtcd {
    /// An empty one without faults, whose misfortunes will be drawn from the seed. Must be called within a
    /// tokio runtime.
    pub fn new(seed: u64) -> SimEtcd {
        SimEtcd::of(Inner::new(seed))
    }

    fn of(inner: Inner) -> SimEtcd {
        let revision = Arc::new(watch::Sender::new(inner.mvcc.revision));
        SimEtcd { inner: Arc::new(Mutex::new(inner)), revision, gone: CancellationToken::new() }
    }

    /// Another cluster that holds the same, without faults.
    pub fn fork(&self, seed: u64) -> SimEtcd {
        let mvcc = self.lock().mvcc.clone();
        SimEtcd::of(Inner { mvcc, ..Inner::new(seed) })
    }

    /// The process that connects through this handle dies; the answer is for its successor.
    pub fn kill(&self) -> SimEtcd {
        self.gone.cancel();
        SimEtcd { gone: CancellationToken::new(), ..self.clone() }
    }

    pub fn set_faults(&self, faults: EtcdFaults) {
        self.lock().faults = faults;
    }

    /// The leader is lost: for so long every member says so.
    pub fn elect(&self, takes: Duration) {
        self.lock().leader_since = Instant::now() + takes;
    }

    /// Breaks every connection, and with them the watches.
    pub fn cut(&self) {
        let old = std::mem::take(&mut self.lock().connected);
        old.cancel();
    }

    /// Forgets all but the last so many revisions.
    pub fn compact(&self, keep: Revision) {
        let mut inner = self.lock();
        let revision = inner.mvcc.revision.saturating_sub(keep);
        // It may be forgotten already.
        let _ = inner.mvcc.compact(revision);
    }

    /// All that ever happened: the key, when, and what was put there, `None` for a deletion.
    pub fn past(&self) -> Vec<(String, Revision, Option<Bytes>)> {
        let past = |changed: &Changed| {
            let Changed { deleted, kv } = changed;
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            (key, kv.modified, (!deleted).then(|| kv.value.clone()))
        };
        self.lock().mvcc.past.iter().map(past).collect()
    }

    pub fn revision(&self) -> Revision {
        self.lock().mvcc.revision
    }

    /// A connection to a member.
    pub(super) fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let up = self.lock().connected.child_token();
        let serving = serve::serve(self.clone(), far, up);
        let gone = self.gone.clone();
        orlop_base::task::spawn(async move { gone.run_until_cancelled(serving).await });
        near
    }

    fn draw_fate(&self) -> Fate {
        let mut inner = self.lock();
        let Inner { faults, rng, .. } = &mut *inner;
        let draw = rng.u32(..1000);
        let (unanswered, late) = (faults.lost + faults.unanswered, faults.lost + faults.unanswered + faults.late);
        match draw {
            draw if draw < faults.lost => Fate::Lost,
            draw if draw < unanswered => Fate::Unanswered,
            draw if draw < late => Fate::Late(faults.late_max.mul_f64(rng.f64())),
            _ => Fate::Answered,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SimEtcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimEtcd at {}", self.revision())
    }
}
