//! Linux capabilities by name.

/// In the kernel's order (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has unless it says otherwise, as Docker and containerd have it.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const ALL: u64 = (1 << NAMES.len()) - 1;

/// The bit of a capability, with or without `CAP_`, in any case.
pub fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == name).map(|at| 1 << at)
}

/// The full names of a set.
pub fn names(set: u64) -> Vec<String> {
    let held = NAMES.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
    held.map(|(_, name)| format!("CAP_{name}")).collect()
}

/// A container's set. `ALL` is taken first on both lists, so that what is named singly wins
/// (containerd's CRI service); unknown names are left out.
pub fn set(privileged: bool, add: &[String], drop: &[String]) -> u64 {
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let named = |names: &[String]| names.iter().filter_map(|name| bit(name)).fold(0, |a, b| a | b);
    if privileged {
        return ALL;
    }
    let mut set = named(&DEFAULT.map(str::to_owned));
    if add.iter().any(is_all) {
        set = ALL;
    }
    if drop.iter().any(is_all) {
        set = 0;
    }
    (set | named(add)) & !named(drop)
}

/// What this process may give away: its own bounding set.
pub fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn added_dropped_and_all() {
        let default = 0xa804_25fb;
        let bits = |names: &[&str]| names.iter().map(|n| bit(n).unwrap()).sum::<u64>();
        for (add, drop, want) in [
            (&[][..], &[][..], default),
            (
                &["NET_ADMIN", "cap_sys_time"],
                &["MKNOD"],
                (default | bits(&["NET_ADMIN", "SYS_TIME"])) & !bits(&["MKNOD"]),
            ),
            (&[], &["ALL"], 0),
            (&["NET_BIND_SERVICE"], &["all"], bits(&["NET_BIND_SERVICE"])),
            (&["ALL"], &["CHOWN"], ALL & !1),
            (&["NONSENSE"], &[], default),
        ] {
            assert_eq!(set(false, &list(add), &list(drop)), want, "+{add:?} -{drop:?}");
        }
        assert_eq!(set(true, &[], &list(&["ALL"])), ALL);
    }
}
