//! How much a container has written into its own layer.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `st_blocks` counts these, whatever the file system's own block size (stat(2)).
const STAT_BLOCK: u64 = 512;

/// Bytes allocated below `dir`; what vanishes meanwhile does not count.
pub fn bytes(dir: &Path) -> u64 {
    let mut total = 0;
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok) {
            let Ok(meta) = entry.metadata() else { continue };
            total += meta.blocks() * STAT_BLOCK;
            if meta.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    total
}
