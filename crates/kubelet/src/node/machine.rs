//! What this machine is: read once, at start.

use std::fs;

/// Facts that a restart of the machine may change, but nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub cpus: i64,
    pub memory_bytes: i64,
    pub swap_bytes: i64,
    pub max_pids: i64,
    /// `2Mi` to bytes reserved.
    pub hugepages: Vec<(String, i64)>,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel_version: String,
    pub os_image: String,
    /// As Go names it.
    pub architecture: &'static str,
}

impl Machine {
    pub fn read() -> Self {
        let meminfo = text("/proc/meminfo");
        let kib = |field: &str| meminfo_kib(&meminfo, field);
        let machine_id = text("/etc/machine-id");
        let boot_id = text("/proc/sys/kernel/random/boot_id");
        let system_uuid = text("/sys/class/dmi/id/product_uuid").to_lowercase();
        Self {
            cpus: cpus(),
            memory_bytes: kib("MemTotal") * 1024,
            swap_bytes: kib("SwapTotal") * 1024,
            max_pids: text("/proc/sys/kernel/pid_max").parse().unwrap_or(32768),
            hugepages: hugepages(),
            system_uuid: if system_uuid.is_empty() { machine_id.clone() } else { system_uuid },
            machine_id,
            boot_id,
            kernel_version: text("/proc/sys/kernel/osrelease"),
            os_image: os_image(&text("/etc/os-release")),
            architecture: architecture(),
        }
    }
}

/// `MemAvailable` now, in bytes.
pub fn memory_available_bytes() -> i64 {
    meminfo_kib(&text("/proc/meminfo"), "MemAvailable") * 1024
}

fn cpus() -> i64 {
    std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1))
}

/// A file's trimmed text, empty if it cannot be read.
fn text(path: &str) -> String {
    fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default()
}

fn meminfo_kib(meminfo: &str, field: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn hugepages() -> Vec<(String, i64)> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut sizes: Vec<(String, i64)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: i64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count: i64 = text(&entry.path().join("nr_hugepages").display().to_string()).parse().ok()?;
            Some((binary_size(kib), count * kib * 1024))
        })
        .collect();
    sizes.sort();
    sizes
}

fn binary_size(kib: i64) -> String {
    match kib {
        kib if kib % (1 << 20) == 0 => format!("{}Gi", kib >> 20),
        kib if kib % (1 << 10) == 0 => format!("{}Mi", kib >> 10),
        kib => format!("{kib}Ki"),
    }
}

fn os_image(os_release: &str) -> String {
    let pretty = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_procs_texts() {
        let meminfo = "MemTotal:       24576 kB\nMemAvailable:    1024 kB\n";
        assert_eq!((meminfo_kib(meminfo, "MemTotal"), meminfo_kib(meminfo, "SwapTotal")), (24576, 0));
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
        assert_eq!([2048, 1 << 20, 64].map(binary_size), ["2Mi", "1Gi", "64Ki"]);
        let machine = Machine::read();
        assert!(machine.cpus > 0 && machine.memory_bytes > 0 && !machine.boot_id.is_empty());
    }
}
