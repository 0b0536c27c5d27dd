//! The images that are whole, and the names they go by.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::io_error;
use crate::digest::Digest;
use crate::reference::Reference;
use crate::{ImageConfig, ImageError};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Every blob it needs: index, manifest, config, layers.
    pub blobs: Vec<Digest>,
    /// Directory names below `layers`, topmost first.
    pub layers: Vec<String>,
    pub size_bytes: u64,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    pub config: ImageConfig,
    /// The manifest that describes it on this platform.
    pub manifest: Digest,
}

/// Images by id (digest of the config).
pub type Images = BTreeMap<String, Record>;

pub struct Index {
    path: PathBuf,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    images: Arc<Images>,
    /// Inode and change time of the file that was read: another process may have replaced it.
    stamp: Option<(u64, i64, i64)>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    images: Images,
}

const VERSION: u32 = 1;

impl Index {
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join("index.json"), cached: Mutex::new(Cached::default()) }
    }

    /// The images as they are now.
    pub fn read(&self) -> Result<Arc<Images>, ImageError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut cached)?;
        Ok(cached.images.clone())
    }

    /// Changes the index under its lock; written only when `change` succeeds.
    pub fn update<T>(&self, change: impl FnOnce(&mut Images) -> Result<T, ImageError>) -> Result<T, ImageError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let lock_path = self.path.with_extension("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|e| io_error(format!("open {}", lock_path.display()), e))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| io_error("lock the image index", e.into()))?;
        self.refresh(&mut cached)?;
        let mut images = Images::clone(&cached.images);
        let result = change(&mut images)?;
        if images != *cached.images {
            let document = Document { version: VERSION, images };
            self.write(&document).map_err(|e| io_error(format!("write {}", self.path.display()), e))?;
            *cached = Cached { images: Arc::new(document.images), stamp: self.stamp() };
        }
        Ok(result)
    }

    fn stamp(&self) -> Option<(u64, i64, i64)> {
        self.path.metadata().ok().map(|meta| (meta.ino(), meta.ctime(), meta.ctime_nsec()))
    }

    fn refresh(&self, cached: &mut Cached) -> Result<(), ImageError> {
        let stamp = self.stamp();
        if stamp == cached.stamp {
            return Ok(());
        }
        let images = match std::fs::read(&self.path) {
            Ok(bytes) => {
                let document: Document = serde_json::from_slice(&bytes)
                    .map_err(|e| ImageError::Malformed(format!("{}: {e}", self.path.display())))?;
                if document.version != VERSION {
                    let why = format!("{}: version {} is not known", self.path.display(), document.version);
                    return Err(ImageError::Malformed(why));
                }
                document.images
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Images::new(),
            Err(error) => return Err(io_error(format!("read {}", self.path.display()), error)),
        };
        *cached = Cached { images: Arc::new(images), stamp };
        Ok(())
    }

    fn write(&self, document: &Document) -> io::Result<()> {
        let tmp = self.path.with_extension("json.tmp");
        let mut file = File::create(&tmp)?;
        file.write_all(&serde_json::to_vec(document)?)?;
        file.sync_all()?;
        std::fs::rename(&tmp, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

/// Shortest id prefix that is taken for one.
const ID_PREFIX_MIN: usize = 12;

/// The image that `text` (tag, digest, id) names.
pub fn find<'a>(images: &'a Images, text: &str) -> Result<Option<(&'a String, &'a Record)>, ImageError> {
    if let Some(found) = images.get_key_value(text) {
        return Ok(Some(found));
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if hex.len() >= ID_PREFIX_MIN && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        let prefix = format!("sha256:{hex}");
        let mut matching = images.range(prefix.clone()..).take_while(|(id, _)| id.starts_with(&prefix));
        if let (Some(found), None) = (matching.next(), matching.next()) {
            return Ok(Some(found));
        }
        if hex.len() == 64 {
            return Ok(None);
        }
    }
    let reference = Reference::parse(text)?;
    let by_digest = reference.digest.as_ref().map(|digest| reference.with_digest(digest));
    let by_tag = reference.tagged().filter(|_| by_digest.is_none());
    Ok(images.iter().find(|(_, record)| {
        by_digest.as_ref().is_some_and(|name| record.digests.contains(name))
            || by_tag.as_ref().is_some_and(|name| record.tags.contains(name))
    }))
}
