//! Emptying and removing groups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::process;

/// The dead leave their group a moment after they were killed; no v1 file says when. Doubling from 0.5 ms
/// this waits four seconds in all, more than the kernel ever needed under load.
const REMOVE_TRIES: u32 = 13;
const FIRST_WAIT: Duration = Duration::from_micros(500);

/// Removes the group in every hierarchy, killing what is in it.
pub fn remove(dirs: &[PathBuf]) -> io::Result<()> {
    let mut left: Vec<&PathBuf> = dirs.iter().collect();
    for attempt in 0..REMOVE_TRIES {
        let mut failed = None;
        left.retain(|dir| match remove_once(dir) {
            Ok(()) => false,
            Err(e) => {
                failed = Some(io::Error::new(e.kind(), format!("remove cgroup {}: {e}", dir.display())));
                true
            }
        });
        match failed {
            None => return Ok(()),
            Some(error) if attempt + 1 == REMOVE_TRIES => return Err(error),
            Some(_) => {}
        }
        for dir in &left {
            kill(dir);
        }
        std::thread::sleep(FIRST_WAIT * 2u32.pow(attempt));
    }
    Ok(())
}

/// Usually one call: empty groups without children go at once.
fn remove_once(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
        result => return gone_is_fine(result),
    }
    for child in children(dir)? {
        remove_once(&child)?;
    }
    gone_is_fine(fs::remove_dir(dir))
}

/// Removes the directories between a mount and a removed root as far as nobody else uses them.
pub fn prune(mount: &Path, root: &str) {
    for parent in Path::new(root).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
        if fs::remove_dir(mount.join(parent)).is_err() {
            return;
        }
    }
}

/// Kills every process of a group and of those below it.
pub fn kill(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for child in children(dir).unwrap_or_default() {
        kill(&child);
    }
    for pid in pids(dir) {
        let _ = process::kill(pid, libc::SIGKILL);
    }
}

pub fn pids(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for processes of another PID namespace: not ours to kill.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let dirs = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(dirs.map(|entry| entry.path()).collect())
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
