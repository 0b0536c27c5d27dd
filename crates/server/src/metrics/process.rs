//! The process itself, under the names every Prometheus client library uses.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub struct Process {
    resident_bytes: Gauge,
    open_files: Gauge,
}

/// The unit of `/proc/self/statm`. Every machine this runs on has it.
const PAGE_BYTES: i64 = 4096;

impl Process {
    pub fn register(registry: &mut Registry) -> Self {
        let start = Gauge::<f64, AtomicU64>::default();
        start.set(crate::server::started() as f64);
        registry.register("process_start_time_seconds", "Unix time of the process's start", start);
        let process = Self { resident_bytes: Gauge::default(), open_files: Gauge::default() };
        registry.register("process_resident_memory_bytes", "Resident memory", Gauge::clone(&process.resident_bytes));
        registry.register("process_open_fds", "Open file descriptors", Gauge::clone(&process.open_files));
        process
    }

    /// Looks anew; what cannot be read keeps its last value.
    pub fn refresh(&self) {
        let pages = std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|text| text.split_whitespace().nth(1)?.parse::<i64>().ok());
        if let Some(pages) = pages {
            self.resident_bytes.set(pages * PAGE_BYTES);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(files.count() as i64);
        }
    }
}
