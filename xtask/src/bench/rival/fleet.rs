//! Simulated nodes: they register, renew their leases, say that their pods run, and finish deletions. They speak only
//! the API and so serve any server alike, and they are few tasks, because they share the machine with what is
//! measured.

mod nodes;
mod pods;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::side::Side;
pub use nodes::{Nodes, node_name};
pub use pods::Tally;

/// Longer than anything here takes on a machine that can be used at all.
const PATIENCE: Duration = Duration::from_secs(900);

/// Whether the nodes only are there, as a scheduler needs them, or also live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Still,
    Lively,
}

/// Ends with its owner.
pub struct Fleet {
    tally: watch::Receiver<Tally>,
    work: JoinHandle<Result<()>>,
}

impl Fleet {
    /// Registers the nodes and, where they live, begins to play their kubelets.
    pub async fn start(side: &Side, nodes: &Nodes, life: Life) -> Result<Self> {
        nodes.register(side).await?;
        let (tell, tally) = watch::channel(Tally::default());
        if life == Life::Still {
            return Ok(Self { tally, work: tokio::spawn(std::future::pending()) });
        }
        let kubelets = pods::Kubelets::open(side).await?;
        let leases = nodes.leases(side).await?;
        let work = tokio::spawn(async move { tokio::try_join!(kubelets.run(tell), leases.renew()).map(drop) });
        Ok(Self { tally, work })
    }

    /// Returns when the pods have come so far.
    pub async fn until(&mut self, far: impl Fn(&Tally) -> bool) -> Result<()> {
        let reached = tokio::time::timeout(PATIENCE, self.tally.wait_for(|tally| far(tally))).await;
        if reached.context("the pods did not come so far in time")?.is_ok() {
            return Ok(());
        }
        (&mut self.work).await?.context("the simulated nodes ended")?;
        bail!("the simulated nodes ended")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.work.abort();
    }
}
