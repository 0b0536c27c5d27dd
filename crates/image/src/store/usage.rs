//! What images cost on their file system.

use orlop_base::disk_usage::disk_usage;

use super::{Local, io_error};
use crate::ImageError;

impl Local {
    /// Bytes allocated and inodes, hard links counted once.
    pub fn disk_usage(&self) -> Result<(u64, u64), ImageError> {
        let usage = disk_usage(&self.dir).map_err(|e| io_error(format!("measure {}", self.dir.display()), e))?;
        Ok((usage.bytes, usage.inodes))
    }
}
