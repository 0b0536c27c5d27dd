//! The two clusters with a node, each on a machine of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orlop_client::config::{Choice, Config};
use tempfile::TempDir;

use super::network::Network;
use super::tree::Tree;
use crate::bench::rival::side::{ADMIN, Contenders, Parts, Who, ready};
use crate::machine::{KUBECONFIG, Machine};
use crate::node;
use crate::process::Process;
use crate::upstream::node::{Kubelet, SOCKET, containerd};
use crate::upstream::tool;

const PATIENCE: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Of containers' images, those of pods.
const IMAGES_OF_PODS: &str = "k8s.io";

/// One that runs.
pub struct Side {
    pub who: Who,
    pub config: Config,
    // Dropped in this order: what runs ends with its machine.
    network: Network,
    machine: Machine,
    processes: Vec<Process>,
    _dir: TempDir,
}

impl Side {
    /// With this image in its node's store, under this name.
    pub async fn start(contenders: &Contenders, who: Who, archive: &Path, image: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("orlop-rival-").context("making a directory for a node")?;
        match who {
            Who::Orlop => Self::orlop(contenders, dir, archive).await,
            Who::Upstream => Self::upstream(contenders, dir, archive, image).await,
        }
    }

    async fn orlop(contenders: &Contenders, dir: TempDir, archive: &Path) -> Result<Self> {
        let program = contenders.orlop();
        let mut machine =
            Machine::start("rival", 1, &dir.path().join("orlop.log"), |name| node::server(program, name, &[]))?;
        let network = Network::of(machine.first_process())?;
        let (kubeconfig, began) = (inside(&machine, KUBECONFIG), Instant::now());
        let config = loop {
            machine.check()?;
            ensure!(began.elapsed() < PATIENCE, "Orlop was not ready in time");
            if let Ok(config) = Config::load(Some(&kubeconfig), &Choice::default())
                && answers(&network, config.clone()).await
            {
                break config;
            }
            tokio::time::sleep(ASK_EVERY).await;
        };
        machine.run(program, &["image".as_ref(), "import".as_ref(), archive.as_os_str()])?;
        Ok(Self { who: Who::Orlop, config, network, machine, processes: Vec::new(), _dir: dir })
    }

    async fn upstream(contenders: &Contenders, dir: TempDir, archive: &Path, image: &str) -> Result<Self> {
        let idle = |_: &str| ["sleep", "infinity"].map(Into::into).to_vec();
        let machine = Machine::start("rival", 2, &dir.path().join("machine.log"), idle)?;
        let network = Network::of(machine.first_process())?;
        let mut processes = Vec::new();
        let mut runtime = containerd(machine.command(tool("containerd")?)?, dir.path(), image)?;
        let socket = inside(&machine, SOCKET);
        runtime.wait(ASK_EVERY, || async { socket.exists() }).await?;
        let import = ["--address", SOCKET, "--namespace", IMAGES_OF_PODS, "images", "import"].map(OsStr::new);
        machine.run(tool("ctr")?, &[&import[..], &[archive.as_os_str()]].concat())?;
        let (command, ready) = (|program| machine.command(program), async |config| answers(&network, config).await);
        let config = contenders.upstream(dir.path(), Parts::Whole, command, ready, &mut processes).await?;
        let kubelet = Kubelet {
            node: machine.name(),
            bootstrap: &dir.path().join(ADMIN),
            authority: &contenders.pki().join("ca.crt"),
            group: &machine.make_group()?,
        };
        processes.extend([runtime, kubelet.start(machine.command(tool("kubelet")?)?, dir.path())?]);
        Ok(Self { who: Who::Upstream, config, network, machine, processes, _dir: dir })
    }

    /// What a client does in its network.
    pub async fn ask<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &self,
        work: impl FnOnce(Config) -> F,
    ) -> Result<T> {
        self.network.run(work(self.config.clone())).await
    }

    /// All that runs there.
    pub fn tree(&self) -> Tree {
        let entered = self.processes.iter().map(Process::pid);
        Tree::below(&entered.chain([self.machine.first_process()]).collect::<Vec<_>>())
    }
}

fn inside(machine: &Machine, path: &str) -> std::path::PathBuf {
    machine.root().join(path.trim_start_matches('/'))
}

async fn answers(network: &Network, config: Config) -> bool {
    network.run(async move { Ok(ready(&config).await) }).await.unwrap_or(false)
}
