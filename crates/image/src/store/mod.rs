//! The node's images on disk:
//!
//! ```text
//! blobs/sha256/<hex>   manifests, configs and compressed layers as they came
//! layers/<hex>         unpacked layers, ready to be overlayfs lower directories
//! index.json           the images that are whole, and their names
//! tmp/                 what is being made; anything here without an owner is rubbish
//! lock                 held shared while something is made, exclusively while sweeping
//! ```
//!
//! Whatever stands outside `tmp` is whole: it was written there, synced, and renamed into place.
//! The index names only what stands. So a crash leaves at worst blobs and layers that nobody names,
//! and the next sweep takes them. Several processes may open one store.

mod assemble;
mod blobs;
mod index;
mod layers;
mod service;
mod sweep;
mod usage;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use assemble::{Names, Source};
pub use blobs::BlobWriter;
pub use index::{Record, find};
pub use service::ImageStore;

use crate::ImageError;
use index::Index;
use layers::Locks;

/// Says which unpacked layers are in use beyond what the index says: removing an image must not pull the
/// ground from under a container. While it cannot tell, nothing is swept.
pub type LayerGuard = Arc<dyn Fn() -> io::Result<Vec<PathBuf>> + Send + Sync>;

/// The store itself; its methods block.
pub struct Local {
    dir: PathBuf,
    index: Index,
    layer_locks: Locks,
    guard: LayerGuard,
}

impl Local {
    pub fn open(dir: &Path, guard: LayerGuard) -> Result<Self, ImageError> {
        for sub in ["blobs/sha256", "blobs/sha512", "layers", "tmp"] {
            let path = dir.join(sub);
            std::fs::create_dir_all(&path).map_err(|e| io_error(format!("create {}", path.display()), e))?;
        }
        let local = Self { dir: dir.to_owned(), index: Index::new(dir), layer_locks: Locks::default(), guard };
        local.index.read()?;
        local.clean_up()?;
        Ok(local)
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Keeps sweepers away until dropped; every blob and layer made meanwhile is safe.
    pub fn making(&self) -> Result<Hold, ImageError> {
        let file = self.lock_file()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared)
            .map_err(|e| io_error("lock the image store", e.into()))?;
        Ok(Hold { _file: file })
    }

    /// A fresh empty directory that is removed when dropped.
    pub fn scratch(&self) -> Result<Scratch, ImageError> {
        let path = self.dir.join("tmp").join(orlop_base::id::suffix(12));
        std::fs::create_dir(&path).map_err(|e| io_error(format!("create {}", path.display()), e))?;
        Ok(Scratch { path })
    }

    fn lock_file(&self) -> Result<File, ImageError> {
        let path = self.dir.join("lock");
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        open.map_err(|e| io_error(format!("open {}", path.display()), e))
    }
}

/// A shared hold on the store.
pub struct Hold {
    _file: File,
}

pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub fn io_error(doing: impl Into<String>, source: io::Error) -> ImageError {
    ImageError::Io { doing: doing.into(), source }
}

#[cfg(test)]
mod tests;
