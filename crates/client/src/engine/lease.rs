//! Leading by holding a Lease (`k8s.io/client-go/tools/leaderelection`): of several processes with
//! one lease name, at most one works at a time, as long as their clocks run equally fast.
//!
//! Nobody compares wall clocks: a candidate waits a full lease duration, on its own clock, since it
//! last saw the lease change.

use std::future::Future;
use std::time::Duration;

use orlop_api::typed::k8s_openapi::api::coordination::v1::LeaseSpec;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use orlop_api::typed::kinds::Lease;
use orlop_base::{clock, error, id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::client::Client;
use crate::error::Result;

/// Whose lease, and upstream's timings.
#[derive(Clone, Debug)]
pub struct Terms {
    /// `kube-system`.
    pub namespace: String,
    /// `kube-controller-manager`; also the name in metrics.
    pub name: &'static str,
    /// Who this candidate is, unlike any other: host name and something random. A process that takes
    /// over from a dead one of the same identity need not wait for the lease to expire.
    pub identity: String,
    /// Others may take over when they have seen no renewal for this long.
    pub duration: Duration,
    /// A leader that could not renew for this long stops leading.
    pub renew_deadline: Duration,
    /// Between tries.
    pub retry: Duration,
}

impl Terms {
    /// 15 s, 10 s, 2 s, as `kube-controller-manager` and `kube-scheduler` default.
    pub fn new(name: &'static str, identity: impl Into<String>) -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name,
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Stands for the lease until `shutdown`, and runs `work` each time it is held. The token given to
/// `work` is cancelled when leading ends; the candidate stands again only once `work` has ended, as a
/// process that exits and is started anew. Returns early when `work` ends by itself.
///
/// `work` should end within `duration - renew_deadline` of being asked to: that much later somebody
/// else may lead.
pub async fn lead<F: Future<Output = ()>>(
    client: Client,
    terms: Terms,
    shutdown: CancellationToken,
    mut work: impl FnMut(CancellationToken) -> F,
) {
    let mut candidate = Candidate { api: client.api(&terms.namespace), terms, observed: None };
    loop {
        if shutdown.run_until_cancelled(candidate.acquire()).await.is_none() {
            return;
        }
        let ended = candidate.term(&shutdown, &mut work).await;
        if ended != Ended::Lost {
            return candidate.release().await;
        }
        tracing::warn!(lease = candidate.terms.name, "the lease was lost; standing for it again");
    }
}

/// Why a term of leading is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Shutdown,
    /// The lease could not be renewed in time: somebody else may lead.
    Lost,
    /// The work ended by itself.
    Finished,
}

struct Candidate {
    api: Api<Lease>,
    terms: Terms,
    /// The lease as last seen to change, and when.
    observed: Option<(Lease, Instant)>,
}

impl Candidate {
    /// Leads while the lease can be renewed; returns once the work has ended.
    async fn term<F: Future<Output = ()>>(
        &mut self,
        shutdown: &CancellationToken,
        work: &mut impl FnMut(CancellationToken) -> F,
    ) -> Ended {
        let name = self.terms.name;
        tracing::info!(lease = name, identity = self.terms.identity, "became leader");
        crate::metrics::leading(name, true);
        let stop = CancellationToken::new();
        let mut work = std::pin::pin!(work(stop.clone()));
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ended::Shutdown,
            () = &mut work => Ended::Finished,
            () = self.renew() => Ended::Lost,
        };
        stop.cancel();
        if ended != Ended::Finished {
            work.await;
        }
        crate::metrics::leading(name, false);
        ended
    }

    async fn acquire(&mut self) {
        loop {
            match self.try_hold().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(failure) => {
                    tracing::debug!(lease = self.terms.name, error = error::chain(&failure), "acquiring failed");
                }
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Returns when renewing has failed for the deadline.
    async fn renew(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.terms.retry).await;
            let deadline = renewed + self.terms.renew_deadline;
            match tokio::time::timeout_at(deadline, self.try_hold()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(failure)) => {
                    tracing::debug!(lease = self.terms.name, error = error::chain(&failure), "renewing failed");
                }
                Err(_) => {}
            }
            if Instant::now() >= deadline.max(renewed + self.terms.renew_deadline) {
                return;
            }
        }
    }

    /// Takes or renews the lease; `false` while somebody else holds it.
    async fn try_hold(&mut self) -> Result<bool> {
        let held = self.observed.as_ref().filter(|(lease, _)| self.holds(lease)).map(|(lease, _)| lease.clone());
        if let Some(lease) = held {
            // Nobody else can have changed it: no need to read it first.
            match self.api.update(&self.signed(&lease)).await {
                Ok(lease) => {
                    self.observed = Some((lease, Instant::now()));
                    return Ok(true);
                }
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let Some(lease) = self.api.get_opt(self.terms.name).await? else {
            let lease = self.api.create(&self.signed(&self.unborn())).await?;
            self.observed = Some((lease, Instant::now()));
            return Ok(true);
        };
        self.observe(&lease);
        let free = holder(&lease).is_empty() || self.holds(&lease) || self.has_expired();
        if !free {
            return Ok(false);
        }
        let lease = self.api.update(&self.signed(&lease)).await?;
        self.observed = Some((lease, Instant::now()));
        Ok(true)
    }

    fn observe(&mut self, lease: &Lease) {
        if self.observed.as_ref().is_none_or(|(known, _)| known.spec != lease.spec) {
            self.observed = Some((lease.clone(), Instant::now()));
        }
    }

    /// Whether the lease has been seen unchanged for as long as its holder asked for.
    fn has_expired(&self) -> bool {
        let Some((lease, since)) = &self.observed else { return false };
        let seconds = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds).unwrap_or(0);
        since.elapsed() >= Duration::from_secs(seconds.try_into().unwrap_or(0))
    }

    fn holds(&self, lease: &Lease) -> bool {
        holder(lease) == self.terms.identity
    }

    fn unborn(&self) -> Lease {
        let text = |s: &str| Some(s.to_owned());
        let metadata =
            ObjectMeta { name: text(self.terms.name), namespace: text(&self.terms.namespace), ..ObjectMeta::default() };
        Lease { metadata, spec: None }
    }

    /// `lease` held by this candidate from now on.
    fn signed(&self, lease: &Lease) -> Lease {
        let old = lease.spec.clone().unwrap_or_default();
        let now = Some(MicroTime(clock::now()));
        let again = self.holds(lease);
        let transitions = old.lease_transitions.map_or(0, |n| n + i32::from(!again));
        let spec = LeaseSpec {
            holder_identity: Some(self.terms.identity.clone()),
            lease_duration_seconds: Some(self.terms.duration.as_secs() as i32),
            acquire_time: if again { old.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(transitions),
            ..old
        };
        Lease { metadata: lease.metadata.clone(), spec: Some(spec) }
    }

    /// Gives the lease up, so that the next leader need not wait.
    async fn release(&mut self) {
        let Some((lease, _)) = self.observed.take().filter(|(lease, _)| self.holds(lease)) else { return };
        let mut lease = self.signed(&lease);
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        if let Err(failure) = self.api.update(&lease).await {
            tracing::debug!(lease = self.terms.name, error = error::chain(&failure), "giving up the lease failed");
        }
    }

    /// Up to 2.2 times the retry period (client-go's JitterFactor 1.2).
    fn pause(&self) -> Duration {
        self.terms.retry.mul_f64(1.0 + 1.2 * id::fraction())
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or_default()
}
