//! Records a shim leaves on disk, for an agent that was not there.

use std::ffi::{CStr, CString};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};

use crate::protocol::ExitRecord;

/// File names inside a container's directory.
pub const STARTED: &str = "started";
pub const EXIT: &str = "exit";

/// Written by hand: a JSON library has no place in a process that is to stay small.
pub fn write_started(dir: &CStr, pid: i32, unix_nanos: i64) -> io::Result<()> {
    write(dir, STARTED, &format!("{{\"pid\":{pid},\"unix_nanos\":{unix_nanos}}}"))
}

pub fn write_exit(dir: &CStr, exit: &ExitRecord) -> io::Result<()> {
    let ExitRecord { code, signal, oom_killed, unix_nanos } = exit;
    let text =
        format!("{{\"code\":{code},\"signal\":{signal},\"oom_killed\":{oom_killed},\"unix_nanos\":{unix_nanos}}}");
    write(dir, EXIT, &text)
}

/// Whole or not at all.
fn write(dir: &CStr, name: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, dir, flags, Mode::empty())?;
    let (name, temporary) = (CString::new(name)?, CString::new(format!(".{name}"))?);
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, &temporary, flags, Mode::from_raw_mode(0o600))?;
    if rustix::io::write(&file, text.as_bytes())? != text.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(rustix::fs::renameat(&dir, &temporary, &dir, &name)?)
}

pub fn unix_nanos() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether the kernel ever killed a process of a cgroup for its memory: the `oom_kill` line of v1's
/// `memory.oom_control` or v2's `memory.events`.
pub fn oom_killed(path: &CStr) -> bool {
    let mut buffer = [0; 512];
    let read = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut buffer));
    let text = read.map_or(&[][..], |n| &buffer[..n]);
    let count = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "));
    count.is_some_and(|count| count != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_readable_json() {
        let dir = tempfile::tempdir().unwrap();
        let path = CString::new(dir.path().to_str().unwrap()).unwrap();
        let exit = ExitRecord { code: 137, signal: 9, oom_killed: true, unix_nanos: 5 };
        write_exit(&path, &exit).unwrap();
        let text = std::fs::read(dir.path().join(EXIT)).unwrap();
        assert_eq!(serde_json::from_slice::<ExitRecord>(&text).unwrap(), exit);
        write_started(&path, 7, 8).unwrap();
        let text = std::fs::read(dir.path().join(STARTED)).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["pid"], 7);
    }

    #[test]
    fn oom_kills_are_counted_in_both_formats() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let path = CString::new(file.to_str().unwrap()).unwrap();
        for (text, want) in [
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", true),
            ("low 0\nhigh 0\nmax 3\noom 1\noom_kill 0\noom_group_kill 0\n", false),
            ("", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(oom_killed(&path), want, "{text}");
        }
        assert!(!oom_killed(c"/nowhere"));
    }
}
