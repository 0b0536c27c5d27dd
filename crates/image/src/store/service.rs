//! The asynchronous face of the store.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::index::{self, Record};
use super::{LayerGuard, Local};
use crate::archive;
use crate::build::{self, Tree};
use crate::reference::Reference;
use crate::registry::{Hosts, Puller};
use crate::{Credentials, Image, ImageConfig, ImageError, ImageService, Progress};

/// Images of a node: what is here, and how to get more.
pub struct ImageStore {
    local: Arc<Local>,
    puller: Puller,
}

impl ImageStore {
    /// Opens `<data-dir>/images`, discarding what a crash left half-made. Layers that `guard` names are kept
    /// when their images are removed.
    pub async fn open(dir: &Path, hosts: Hosts, guard: LayerGuard) -> Result<Arc<Self>, ImageError> {
        let dir = dir.to_owned();
        let local = Arc::new(blocking(move || Local::open(&dir, guard)).await?);
        Ok(Arc::new(Self { puller: Puller::new(local.clone(), hosts), local }))
    }

    /// Takes in an OCI or docker archive (tar, plain or compressed); `reference` overrides the name inside.
    pub async fn import(
        &self,
        archive: &Path,
        reference: Option<&str>,
        progress: Option<Progress>,
    ) -> Result<Vec<Image>, ImageError> {
        let reference = reference.map(Reference::parse).transpose()?;
        let (local, archive) = (self.local.clone(), archive.to_owned());
        blocking(move || {
            let ids = archive::import(&local, &archive, reference.as_ref(), progress.as_ref())?;
            ids.iter().map(|id| local.image(id)).collect()
        })
        .await
    }

    /// Writes an archive that is both an OCI and a docker one.
    pub async fn export(&self, reference: &str, archive: &Path) -> Result<(), ImageError> {
        let (local, reference, archive) = (self.local.clone(), reference.to_owned(), archive.to_owned());
        blocking(move || {
            let images = local.index().read()?;
            let found = index::find(&images, &reference)?;
            let (_, record) = found.ok_or_else(|| ImageError::NotFound(reference.clone()))?;
            archive::export(&local, record, &archive)
        })
        .await
    }

    /// Makes a one-layer image of a directory tree; the same tree gives the same digests.
    pub async fn build(&self, rootfs: &Path, config: ImageConfig, reference: &str) -> Result<Image, ImageError> {
        let rootfs = rootfs.to_owned();
        let tree = blocking(move || {
            let mut tree = Tree::new();
            let copied = tree.copy_from(&rootfs).map(drop);
            copied.map_err(|e| super::io_error(format!("read {}", rootfs.display()), e))?;
            Ok(tree)
        });
        self.build_tree(tree.await?, config, reference).await
    }

    /// As [`build`](Self::build), of files picked one by one.
    pub async fn build_tree(&self, tree: Tree, config: ImageConfig, reference: &str) -> Result<Image, ImageError> {
        let reference = Reference::parse(reference)?;
        let local = self.local.clone();
        blocking(move || {
            let id = build::build(&local, &tree, config, &reference)?;
            local.image(&id)
        })
        .await
    }

    /// Removes images not among `in_use` (ids or references) and returns the bytes freed.
    pub async fn remove_unused(&self, in_use: &[String]) -> Result<u64, ImageError> {
        let (local, in_use) = (self.local.clone(), in_use.to_vec());
        blocking(move || {
            let freed = local.index().update(|images| {
                let mut keep = std::collections::BTreeSet::new();
                for text in &in_use {
                    if let Ok(Some((id, _))) = index::find(images, text) {
                        keep.insert(id.clone());
                    }
                }
                let freed = images.iter().filter(|(id, _)| !keep.contains(*id)).map(|(_, r)| r.size_bytes).sum();
                images.retain(|id, _| keep.contains(id));
                Ok(freed)
            })?;
            local.sweep()?;
            Ok(freed)
        })
        .await
    }

    /// As [`ImageService::pull`], telling how far it is.
    pub async fn pull_with_progress(
        &self,
        reference: &str,
        credentials: &[Credentials],
        progress: Option<Progress>,
    ) -> Result<Image, ImageError> {
        let reference = Reference::parse(reference)?;
        let id = self.puller.pull(&reference, credentials, progress).await?;
        self.local.image(&id)
    }
}

impl ImageService for ImageStore {
    fn get<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, ImageError>> {
        Box::pin(async move {
            let images = self.local.index().read()?;
            let found = index::find(&images, reference)?;
            Ok(found.map(|(id, record)| self.local.render(id, record)))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        Box::pin(async move {
            let images = self.local.index().read()?;
            Ok(images.iter().map(|(id, record)| self.local.render(id, record)).collect())
        })
    }

    fn pull<'a>(
        &'a self,
        reference: &'a str,
        credentials: &'a [Credentials],
    ) -> BoxFuture<'a, Result<Image, ImageError>> {
        Box::pin(self.pull_with_progress(reference, credentials, None))
    }

    fn remove<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), ImageError>> {
        let (local, reference) = (self.local.clone(), reference.to_owned());
        Box::pin(blocking(move || {
            local.index().update(|images| {
                let id = index::find(images, &reference)?.map(|(id, _)| id.clone());
                if let Some(id) = id {
                    images.remove(&id);
                }
                Ok(())
            })?;
            local.sweep()
        }))
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<(u64, u64), ImageError>> {
        let local = self.local.clone();
        Box::pin(blocking(move || local.disk_usage()))
    }
}

impl Local {
    fn image(&self, id: &str) -> Result<Image, ImageError> {
        let images = self.index().read()?;
        let record = images.get(id).ok_or_else(|| ImageError::NotFound(id.to_owned()))?;
        Ok(self.render(id, record))
    }

    fn render(&self, id: &str, record: &Record) -> Image {
        Image {
            id: id.to_owned(),
            repo_tags: record.tags.clone(),
            repo_digests: record.digests.clone(),
            size_bytes: record.size_bytes,
            layers: record.layers.iter().map(|name| self.layer_path(name)).collect(),
            config: record.config.clone(),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(super::io_error("work on the image store", std::io::Error::other(error))),
    }
}
