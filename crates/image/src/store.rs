//! The node's images: blobs, unpacked layers, and the index of references.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{Credentials, Image, ImageConfig, ImageError, ImageService, Progress};

/// How registry hosts are reached: mirrors, plain HTTP, certificate authorities (`registries.yaml`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// By host name as it stands in references.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

pub struct ImageStore {}

fn pending<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, ImageError>> {
    Box::pin(async { Err(ImageError::Registry("the image store is not ready".into())) })
}

impl ImageStore {
    /// Opens `<data-dir>/images`, discarding what a crash left half-made.
    pub async fn open(dir: &Path, hosts: Hosts) -> Result<Arc<Self>, ImageError> {
        let _ = (dir, hosts);
        Ok(Arc::new(Self {}))
    }

    /// Takes in an OCI or docker archive (tar, plain or gzip); `reference` overrides the name inside.
    pub async fn import(
        &self,
        archive: &Path,
        reference: Option<&str>,
        progress: Option<Progress>,
    ) -> Result<Vec<Image>, ImageError> {
        let _ = (archive, reference, progress);
        pending().await
    }

    /// Writes an archive that is both an OCI and a docker one.
    pub async fn export(&self, reference: &str, archive: &Path) -> Result<(), ImageError> {
        let _ = (reference, archive);
        pending().await
    }

    /// Makes a one-layer image of a directory tree; the same tree gives the same digests.
    pub async fn build(&self, rootfs: &Path, config: ImageConfig, reference: &str) -> Result<Image, ImageError> {
        let _ = (rootfs, config, reference);
        pending().await
    }

    /// Removes images not among `in_use` (ids or references) and returns the bytes freed.
    pub async fn remove_unused(&self, in_use: &[String]) -> Result<u64, ImageError> {
        let _ = in_use;
        pending().await
    }

    /// As [`ImageService::pull`], telling how far it is.
    pub async fn pull_with_progress(
        &self,
        reference: &str,
        credentials: &[Credentials],
        progress: Option<Progress>,
    ) -> Result<Image, ImageError> {
        let _ = (reference, credentials, progress);
        pending().await
    }
}

impl ImageService for ImageStore {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Image>, ImageError>> {
        pending()
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        pending()
    }
    fn pull<'a>(&'a self, _: &'a str, _: &'a [Credentials]) -> BoxFuture<'a, Result<Image, ImageError>> {
        pending()
    }
    fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), ImageError>> {
        pending()
    }
    fn disk_usage(&self) -> BoxFuture<'_, Result<(u64, u64), ImageError>> {
        pending()
    }
}
