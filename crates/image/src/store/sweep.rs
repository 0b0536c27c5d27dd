//! Taking away what no image names.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Local, io_error};
use crate::ImageError;

impl Local {
    /// Removes what an earlier process left half-made. Whole layers stay: who stands on them is not
    /// known yet when a store is opened.
    pub fn clean_up(&self) -> Result<(), ImageError> {
        self.alone()?.map_or(Ok(()), |_alone| self.empty_tmp())
    }

    /// Removes blobs and layers that no image names and no container stands on. Does nothing while
    /// something is being made, here or in another process: the next sweep finds the same rubbish.
    pub fn sweep(&self) -> Result<(), ImageError> {
        let Some(_alone) = self.alone()? else { return Ok(()) };
        let images = self.index().read()?;
        let mut layers: BTreeSet<OsString> = images.values().flat_map(|r| &r.layers).map(OsString::from).collect();
        let in_use = (self.guard)().map_err(|e| io_error("find layers in use", e))?;
        layers.extend(in_use.iter().filter_map(|path| path.file_name().map(OsString::from)));
        self.retire(&self.dir.join("layers"), &layers)?;
        for algorithm in ["sha256", "sha512"] {
            let blobs = images.values().flat_map(|record| &record.blobs);
            let keep = blobs.filter(|b| b.algorithm() == algorithm).map(|b| b.hex().into()).collect();
            self.retire(&self.dir.join("blobs").join(algorithm), &keep)?;
        }
        self.empty_tmp()
    }

    /// The lock that says nobody is making anything, if so.
    fn alone(&self) -> Result<Option<File>, ImageError> {
        let lock = self.lock_file()?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(io_error("lock the image store", errno.into())),
        }
    }

    /// Moves what is not to be kept out of sight in one step each; deleting may take long or be cut short.
    fn retire(&self, dir: &Path, keep: &BTreeSet<OsString>) -> Result<(), ImageError> {
        let doing = || format!("clean {}", dir.display());
        for entry in std::fs::read_dir(dir).map_err(|e| io_error(doing(), e))? {
            let name = entry.map_err(|e| io_error(doing(), e))?.file_name();
            if !keep.contains(&name) {
                let to = self.dir.join("tmp").join(orlop_base::id::suffix(12));
                std::fs::rename(dir.join(&name), to).map_err(|e| io_error(doing(), e))?;
            }
        }
        Ok(())
    }

    fn empty_tmp(&self) -> Result<(), ImageError> {
        let dir = self.dir.join("tmp");
        let doing = || format!("clean {}", dir.display());
        for entry in std::fs::read_dir(&dir).map_err(|e| io_error(doing(), e))? {
            let entry = entry.map_err(|e| io_error(doing(), e))?;
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
                _ => std::fs::remove_file(&path),
            };
            removed.map_err(|e| io_error(doing(), e))?;
        }
        Ok(())
    }
}
