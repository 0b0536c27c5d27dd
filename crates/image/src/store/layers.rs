//! Unpacked layers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Local, io_error};
use crate::ImageError;
use crate::digest::{Digest, Hashing};
use crate::unpack::{self, Below, UnpackError};

/// One lock per layer being unpacked, so that it is done once.
#[derive(Default)]
pub struct Locks(Mutex<BTreeMap<String, Arc<Mutex<()>>>>);

impl Locks {
    fn of(&self, name: &str) -> Arc<Mutex<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }

    fn forget(&self, name: &str) {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two: the map's and the caller's own.
        if locks.get(name).is_some_and(|lock| Arc::strong_count(lock) <= 2) {
            locks.remove(name);
        }
    }
}

/// The chain id of a layer on top of another chain (image-spec, "Layer ChainID").
pub fn chain_id(below: Option<&Digest>, diff_id: &Digest) -> Digest {
    below.map_or_else(|| diff_id.clone(), |below| Digest::of(format!("{below} {diff_id}").as_bytes()))
}

impl Local {
    pub fn layer_path(&self, name: &str) -> PathBuf {
        self.dir.join("layers").join(name)
    }

    /// Unpacks the blob as the layer directory `name` unless that stands already.
    pub fn ensure_layer(
        &self,
        name: &str,
        blob: &Digest,
        diff_id: &Digest,
        below: Below<'_>,
    ) -> Result<(), UnpackError> {
        let lock = self.layer_locks.of(name);
        let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let result =
            if self.layer_path(name).exists() { Ok(()) } else { self.unpack_layer(name, blob, diff_id, below) };
        drop(held);
        self.layer_locks.forget(name);
        result
    }

    fn unpack_layer(&self, name: &str, blob: &Digest, diff_id: &Digest, below: Below<'_>) -> Result<(), UnpackError> {
        let scratch = self.scratch()?;
        let dest = scratch.path().join("layer");
        std::fs::create_dir(&dest).map_err(|e| io_error(format!("create {}", dest.display()), e))?;
        let file = Hashing::with(self.open_blob(blob)?, blob.hasher());
        let (got_diff, got_blob) = unpack_verified(file, diff_id, &dest, below)?;
        blob.verify(&got_blob)?;
        diff_id.verify(&got_diff)?;
        self.publish_layer(&dest, name)?;
        Ok(())
    }

    /// Syncs the file system, then shows the directory under its name.
    fn publish_layer(&self, made: &Path, name: &str) -> Result<(), ImageError> {
        let sync = File::open(made).and_then(|dir| rustix::fs::syncfs(dir).map_err(io::Error::from));
        sync.map_err(|e| io_error(format!("sync layer {name}"), e))?;
        match std::fs::rename(made, self.layer_path(name)) {
            Ok(()) => Ok(()),
            // Another process was faster; what it made is the same.
            Err(_) if self.layer_path(name).exists() => Ok(()),
            Err(error) => Err(io_error(format!("store layer {name}"), error)),
        }
    }
}

/// Unpacks while hashing on both sides of the decompressor.
fn unpack_verified(
    blob: Hashing<File>,
    diff_id: &Digest,
    dest: &Path,
    below: Below<'_>,
) -> Result<(Digest, Digest), UnpackError> {
    let doing = |e| io_error("read layer", e);
    let blob = Arc::new(Mutex::new(blob));
    let tar = unpack::decompress(Shared(blob.clone())).map_err(doing)?;
    let mut tar = Hashing::with(tar, diff_id.hasher());
    unpack::unpack(&mut tar, dest, below)?;
    let (rest, got_diff, _) = tar.finish();
    drop(rest);
    let mut blob = Arc::into_inner(blob).and_then(|m| m.into_inner().ok()).expect("the decompressor is gone");
    // A decompressor may stop before trailing bytes.
    io::copy(&mut blob, &mut io::sink()).map_err(doing)?;
    Ok((got_diff, blob.finish().1))
}

/// Lets the hash be taken back after the decompressor owned the reader.
struct Shared(Arc<Mutex<Hashing<File>>>);

impl Read for Shared {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buf)
    }
}
