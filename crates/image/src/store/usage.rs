//! What images cost on their file system.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Local, io_error};
use crate::ImageError;

/// `st_blocks` counts these, whatever the file system's own block size (stat(2)).
const STAT_BLOCK: u64 = 512;

impl Local {
    /// Bytes allocated and inodes, hard links counted once.
    pub fn disk_usage(&self) -> Result<(u64, u64), ImageError> {
        let mut usage = Usage::default();
        usage.add(&self.dir).map_err(|e| io_error(format!("measure {}", self.dir.display()), e))?;
        Ok((usage.bytes, usage.inodes))
    }
}

#[derive(Default)]
struct Usage {
    bytes: u64,
    inodes: u64,
    linked: BTreeSet<(u64, u64)>,
}

impl Usage {
    fn add(&mut self, dir: &Path) -> std::io::Result<()> {
        let mut pending = vec![dir.to_owned()];
        while let Some(dir) = pending.pop() {
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                // Removed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let Ok(meta) = entry.metadata() else { continue };
                if meta.nlink() > 1 && !meta.is_dir() && !self.linked.insert((meta.dev(), meta.ino())) {
                    continue;
                }
                self.bytes += meta.blocks() * STAT_BLOCK;
                self.inodes += 1;
                if meta.is_dir() {
                    pending.push(entry.path());
                }
            }
        }
        Ok(())
    }
}
