//! The node's images, and what keeps them from being removed under those who use them.

use std::sync::Arc;

use anyhow::{Context, Result};
use orlop_image::{Hosts, ImageStore};

use crate::paths::Paths;

/// Opens the node's store, for the node itself and for commands beside it.
pub async fn open(paths: &Paths, hosts: Hosts) -> Result<Arc<ImageStore>> {
    let state = paths.runtime_state();
    let guard = Arc::new(move || {
        let mut layers = orlop_runtime::layers_in_use(&state);
        layers.extend(orlop_kubelet::volumes::mounted_layers()?);
        Ok(layers)
    });
    ImageStore::open(&paths.images(), hosts, guard).await.context("opening the image store")
}

#[cfg(test)]
mod tests {
    use orlop_image::{ImageConfig, ImageService, Tree};
    use orlop_runtime::ContainerConfig;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_removed_image_leaves_its_containers_their_ground() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path(), dir.path());
        let store = open(&paths, Hosts::default()).await.unwrap();
        let mut tree = Tree::new();
        tree.bytes("etc/motd", "hello", 0o644);
        let image = store.build_tree(tree, ImageConfig::default(), "app").await.unwrap();
        let config = ContainerConfig { rootfs_layers: image.layers.clone(), ..ContainerConfig::default() };
        let record = json!({"sandbox_id": "s", "config": config, "created_unix_nanos": 0});
        let container = paths.runtime_state().join("containers/c");
        std::fs::create_dir_all(&container).unwrap();
        std::fs::write(container.join("config"), record.to_string()).unwrap();

        store.remove("app").await.unwrap();
        assert!(store.get("app").await.unwrap().is_none());
        assert!(image.layers[0].join("etc/motd").exists());

        std::fs::remove_dir_all(container).unwrap();
        store.remove_unused(&[]).await.unwrap();
        assert!(!image.layers[0].exists());
    }
}
