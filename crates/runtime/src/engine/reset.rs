//! Removing everything.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::paths::Paths;
use super::{RuntimeOptions, blocking, io_error};
use crate::Result;
use crate::cgroup;

/// Kills and removes everything that a runtime in these directories ever made, and nothing of any other: processes, mounts, cgroups,
/// network namespaces, files.
pub async fn reset(options: &RuntimeOptions) -> Result<()> {
    let options = options.clone();
    blocking(move || {
        // Shims and containers alike stand below the root group.
        let paths = Paths::new(&options);
        if let Ok(root) = fs::read_to_string(paths.cgroup_record()) {
            let cgroups = cgroup::open(&root).map_err(|e| io_error("open cgroups", e))?;
            cgroups.remove_root().map_err(|e| io_error("remove cgroups", e))?;
        }
        let run = paths.run_sandboxes();
        for dir in [&run, &paths.containers()] {
            unmount_below(dir).map_err(|e| io_error(format!("unmount what is below {}", dir.display()), e))?;
        }
        for dir in [run, paths.sandboxes(), paths.containers(), paths.trash()] {
            match fs::remove_dir_all(&dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(format!("remove {}", dir.display()), e));
                }
                _ => {}
            }
        }
        // The last trace: until it is gone, a reset can be done again.
        let _ = fs::remove_file(paths.cgroup_record());
        for dir in [&options.state_dir, &options.run_dir] {
            // Others may keep things there, too.
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    })
    .await
}

fn unmount_below(dir: &Path) -> io::Result<()> {
    let Ok(dir) = dir.canonicalize() else { return Ok(()) };
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut ours: Vec<String> = points.filter(|point| Path::new(point).starts_with(&dir)).collect();
    // The last mounted lies on top.
    ours.reverse();
    for point in ours {
        match rustix::mount::unmount(point.as_str(), UnmountFlags::DETACH) {
            // An agent that still runs may clean up after the shims that died just now.
            Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The kernel writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
