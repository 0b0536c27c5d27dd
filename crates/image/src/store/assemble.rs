//! From a manifest whose blobs are all here to an image in the index.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::layers::chain_id;
use super::{Local, Record};
use crate::ImageError;
use crate::digest::Digest;
use crate::spec::{CONFIG_BYTES_MAX, ConfigFile, Manifest};
use crate::unpack::{Below, UnpackError};

/// Unpacking is bound by the processor and the disk; more threads only thrash.
const UNPACK_THREADS_MAX: usize = 4;

/// The names a new image gets.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub tags: Vec<String>,
    pub digests: Vec<String>,
}

/// Where a manifest came from: itself and the index above it, if any.
#[derive(Clone, Debug)]
pub struct Source {
    pub manifest: Digest,
    pub documents: Vec<Digest>,
}

impl Local {
    /// Unpacks what is not yet unpacked and records the image. The caller holds [`Local::making`].
    pub fn assemble(&self, source: &Source, manifest: &Manifest, names: &Names) -> Result<String, ImageError> {
        let config = self.config_of(manifest)?;
        let layers = self.unpack_all(manifest, &config.diff_ids)?;
        let mut blobs = source.documents.clone();
        blobs.push(manifest.config.digest.clone());
        blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
        let id = manifest.config.digest.to_string();
        let record = Record {
            blobs,
            layers: layers.into_iter().rev().collect(),
            size_bytes: manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
            tags: Vec::new(),
            digests: Vec::new(),
            config: config.config,
            manifest: source.manifest.clone(),
        };
        self.index().update(|images| {
            for other in images.values_mut() {
                other.tags.retain(|tag| !names.tags.contains(tag));
                other.digests.retain(|name| !names.digests.contains(name));
            }
            let entry = images.entry(id.clone()).or_insert_with(|| record.clone());
            // The same image by another manifest: keep the blobs of both.
            for blob in &record.blobs {
                if !entry.blobs.contains(blob) {
                    entry.blobs.push(blob.clone());
                }
            }
            entry.tags.extend(names.tags.iter().cloned());
            entry.digests.extend(names.digests.iter().cloned());
            Ok(())
        })?;
        Ok(id)
    }

    pub fn config_of(&self, manifest: &Manifest) -> Result<ConfigFile, ImageError> {
        let config = ConfigFile::parse(&self.read_blob(&manifest.config.digest, CONFIG_BYTES_MAX)?)?;
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::Malformed(format!(
                "image config lists {} layers, the manifest {}",
                config.diff_ids.len(),
                manifest.layers.len()
            )));
        }
        Ok(config)
    }

    /// Unpacks one layer by itself, ahead of the others; false when it needs those below.
    pub fn unpack_ahead(&self, blob: &Digest, diff_id: &Digest, bottom: bool) -> Result<bool, ImageError> {
        let below = if bottom { Below::Known(&[]) } else { Below::Unknown };
        match self.ensure_layer(diff_id.hex(), blob, diff_id, below) {
            Ok(()) => Ok(true),
            Err(UnpackError::NeedsLower) => Ok(false),
            Err(UnpackError::Image(error)) => Err(error),
        }
    }

    /// Layer directory names, bottom first.
    fn unpack_all(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<String>, ImageError> {
        let alone = self.unpack_in_parallel(manifest, diff_ids)?;
        let mut names: Vec<String> = Vec::new();
        let mut chain = None;
        for ((layer, diff_id), alone) in manifest.layers.iter().zip(diff_ids).zip(alone) {
            let this_chain = chain_id(chain.as_ref(), diff_id);
            if alone {
                names.push(diff_id.hex().to_owned());
            } else {
                let below: Vec<PathBuf> = names.iter().rev().map(|name| self.layer_path(name)).collect();
                let name = this_chain.hex().to_owned();
                self.ensure_layer(&name, &layer.digest, diff_id, Below::Known(&below))?;
                names.push(name);
            }
            chain = Some(this_chain);
        }
        Ok(names)
    }

    /// For each layer whether it could be unpacked by itself.
    fn unpack_in_parallel(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<bool>, ImageError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(UNPACK_THREADS_MAX);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = manifest.layers.get(at) else { return Ok(done) };
                done.push((at, self.unpack_ahead(&layer.digest, &diff_ids[at], at == 0)?));
            }
        };
        let mut alone = vec![false; diff_ids.len()];
        let results: Vec<Result<Vec<(usize, bool)>, ImageError>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(diff_ids.len())).map(|_| scope.spawn(work)).collect();
            let panicked = || Err(ImageError::Malformed("unpacking a layer failed unexpectedly".into()));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| panicked())).collect()
        });
        for result in results {
            for (at, ok) in result? {
                alone[at] = ok;
            }
        }
        Ok(alone)
    }
}
