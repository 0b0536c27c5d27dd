//! The process itself, under the names every Prometheus client library uses.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub struct Process {
    /// A counter whose name must be this: OpenMetrics' counters only count.
    cpu_seconds: Gauge<f64, AtomicU64>,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_files: Gauge,
    max_files: Gauge,
}

/// The unit of `/proc/self/statm`. Every machine this runs on has it.
const PAGE_BYTES: i64 = 4096;

pub fn register_start(registry: &mut Registry) {
    let start = Gauge::<f64, AtomicU64>::default();
    start.set(crate::server::started() as f64);
    registry.register("process_start_time_seconds", "Unix time of the process's start", start);
}

impl Process {
    pub fn register(registry: &mut Registry) -> Self {
        register_start(registry);
        let process = Self {
            cpu_seconds: Gauge::default(),
            resident_bytes: Gauge::default(),
            virtual_bytes: Gauge::default(),
            open_files: Gauge::default(),
            max_files: Gauge::default(),
        };
        registry.register("process_cpu_seconds_total", "Time on processors", process.cpu_seconds.clone());
        registry.register("process_resident_memory_bytes", "Resident memory", Gauge::clone(&process.resident_bytes));
        registry.register("process_virtual_memory_bytes", "Mapped memory", Gauge::clone(&process.virtual_bytes));
        registry.register("process_open_fds", "Open file descriptors", Gauge::clone(&process.open_files));
        registry.register("process_max_fds", "File descriptors that may be open", Gauge::clone(&process.max_files));
        process
    }

    /// Looks anew; what cannot be read keeps its last value.
    pub fn refresh(&self) {
        if let Ok(text) = std::fs::read_to_string("/proc/self/statm") {
            let pages = text.split_whitespace().map_while(|pages| pages.parse::<i64>().ok());
            [&self.virtual_bytes, &self.resident_bytes].into_iter().zip(pages).for_each(|(gauge, pages)| {
                gauge.set(pages * PAGE_BYTES);
            });
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(files.count() as i64);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        self.max_files.set(limit.current.map_or(-1, |files| files as i64));
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        self.cpu_seconds.set(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9);
    }
}
