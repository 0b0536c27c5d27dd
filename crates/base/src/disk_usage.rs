//! What a directory costs on its file system.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `st_blocks` counts these, whatever the file system's own block size (stat(2)).
const STAT_BLOCK: u64 = 512;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Allocated, not apparent.
    pub bytes: u64,
    pub inodes: u64,
}

/// Everything below `dir`; hard links count once, what vanishes meanwhile does not count.
pub fn disk_usage(dir: &Path) -> io::Result<DiskUsage> {
    let mut usage = DiskUsage::default();
    let mut linked = BTreeSet::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() > 1 && !meta.is_dir() && !linked.insert((meta.dev(), meta.ino())) {
                continue;
            }
            usage.bytes += meta.blocks() * STAT_BLOCK;
            usage.inodes += 1;
            if meta.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once() {
        let dir = std::env::temp_dir().join(format!("orlop-usage-{}", crate::id::uuid()));
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/a"), vec![1; 10_000]).unwrap();
        std::fs::hard_link(dir.join("sub/a"), dir.join("b")).unwrap();
        let usage = disk_usage(&dir).unwrap();
        assert_eq!(usage.inodes, 2);
        assert!(usage.bytes >= 10_000, "{usage:?}");
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(disk_usage(&dir).unwrap(), DiskUsage::default());
    }
}
