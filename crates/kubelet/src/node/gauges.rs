//! How much of the machine is left, now.

use std::fs;
use std::path::Path;

use super::stalls::MemoryStalls;

/// A file system's size and what is free of it, for unprivileged users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub used_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// What changes while the machine runs; a simulation brings its own.
pub trait Gauges: Send + Sync + 'static {
    /// Memory that can be had without swapping.
    fn memory_available_bytes(&self) -> i64;
    /// The file system that `path`, or the nearest directory above it, is on.
    fn file_system(&self, path: &Path) -> Option<FileSystem>;
    /// Processes and threads.
    fn tasks(&self) -> i64;
    /// CPU time used by the whole machine.
    fn cpu_busy_nanos(&self) -> u64;
    /// Tells when tasks wait for memory; `None`: nothing tells.
    fn memory_stalls(&self) -> Option<MemoryStalls> {
        None
    }
}

/// This machine's.
pub struct SystemGauges;

impl Gauges for SystemGauges {
    fn memory_available_bytes(&self) -> i64 {
        super::machine::memory_available_bytes()
    }

    fn file_system(&self, path: &Path) -> Option<FileSystem> {
        let fs = path.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok())?;
        Some(FileSystem {
            total_bytes: fs.f_blocks.saturating_mul(fs.f_frsize),
            available_bytes: fs.f_bavail.saturating_mul(fs.f_frsize),
            used_bytes: fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize),
            inodes: fs.f_files,
            inodes_free: fs.f_favail,
        })
    }

    fn tasks(&self) -> i64 {
        tasks(&fs::read_to_string("/proc/loadavg").unwrap_or_default())
    }

    fn cpu_busy_nanos(&self) -> u64 {
        busy_nanos(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn memory_stalls(&self) -> Option<MemoryStalls> {
        MemoryStalls::open().inspect_err(|error| tracing::debug!(%error, "watching for memory stalls")).ok()
    }
}

/// A machine on which nothing else runs and whose disk is empty.
pub struct Idle {
    pub memory_bytes: i64,
}

const IDLE_DISK: FileSystem =
    FileSystem { total_bytes: 1 << 40, available_bytes: 1 << 40, used_bytes: 0, inodes: 1 << 24, inodes_free: 1 << 24 };

impl Gauges for Idle {
    fn memory_available_bytes(&self) -> i64 {
        self.memory_bytes
    }

    fn file_system(&self, _: &Path) -> Option<FileSystem> {
        Some(IDLE_DISK)
    }

    fn tasks(&self) -> i64 {
        1
    }

    fn cpu_busy_nanos(&self) -> u64 {
        0
    }
}

/// The fourth field: running and all.
fn tasks(loadavg: &str) -> i64 {
    let all = loadavg.split_whitespace().nth(3).and_then(|field| field.split('/').nth(1)?.parse().ok());
    all.unwrap_or(0)
}

/// Ticks of the first line but idle and iowait, a hundred to the second (`USER_HZ`).
fn busy_nanos(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).map(|n| n.parse::<u64>().unwrap_or(0));
    let busy: u64 = ticks.take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, n)| n).sum();
    busy * 10_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_procs_texts() {
        assert_eq!(busy_nanos("cpu  1 2 3 100 100 4 5 6 7 8\ncpu0 1\n"), 210_000_000);
        assert_eq!(tasks("0.1 0.2 0.3 2/345 6789\n"), 345);
        let here = SystemGauges.file_system(Path::new("/nowhere/at/all")).unwrap();
        assert!(here.total_bytes > 0 && SystemGauges.memory_available_bytes() > 0);
    }
}
