//! A machine's control groups: in every hierarchy one of the machine's name, below one that all machines share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// As Orlop names it.
const SHARED: &str = "orlop";

/// The group's name, as a hierarchy has it.
pub fn make(machine: &str) -> Result<String> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(SHARED).join(machine);
        std::fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
    }
    Ok(format!("/{SHARED}/{machine}"))
}

/// Once nothing runs there any more.
pub fn remove(machine: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(SHARED).join(machine);
        if group.is_dir() {
            remove_tree(&group)?;
            // The kernel keeps it where another machine's stand beside.
            let _ = std::fs::remove_dir(hierarchy.join(SHARED));
        }
    }
    Ok(())
}

/// The root itself where version 2 is all there is.
fn hierarchies() -> Result<Vec<PathBuf>> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return Ok(vec![ROOT.into()]);
    }
    let mounted = std::fs::read_dir(ROOT).with_context(|| format!("reading {ROOT}"))?.flatten();
    Ok(mounted.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()).collect())
}

/// The kernel removes groups one by one.
fn remove_tree(group: &Path) -> Result<()> {
    for entry in std::fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path())?;
    }
    std::fs::remove_dir(group).with_context(|| format!("removing {}", group.display()))
}
