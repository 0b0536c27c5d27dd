//! The node agent put together.

use std::sync::Arc;

use orlop_client::Client;
use orlop_image::ImageService;
use orlop_runtime::{ContainerRuntime, PodNetwork};
use tokio_util::sync::CancellationToken;

use crate::config::KubeletConfig;

/// One node.
pub struct Kubelet {
    config: KubeletConfig,
    client: Client,
    runtime: Arc<dyn ContainerRuntime>,
    images: Arc<dyn ImageService>,
    network: Arc<dyn PodNetwork>,
}

impl Kubelet {
    /// `client` speaks as `system:node:<name>`.
    pub fn new(
        config: KubeletConfig,
        client: Client,
        runtime: Arc<dyn ContainerRuntime>,
        images: Arc<dyn ImageService>,
        network: Arc<dyn PodNetwork>,
    ) -> Self {
        Self { config, client, runtime, images, network }
    }

    /// Runs until `shutdown`; pods run on after that, and the next run adopts them.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { config, client, runtime, images, network } = self;
        tracing::info!(node = config.node_name, runtime = runtime.version(), "node agent starting");
        shutdown.cancelled().await;
        drop((client, images, network));
    }
}
