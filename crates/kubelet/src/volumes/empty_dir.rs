//! emptyDir: a directory of the node's, or memory, for the life of the pod.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{One, Setup, ownership};
use crate::corev1::EmptyDirVolumeSource;
use crate::resources::requests::pod_limits;
use crate::resources::{Amount, HUGEPAGES_PREFIX, MEMORY};

const DEFAULT_MODE: u32 = 0o777;

pub fn set_up(setup: &Setup<'_>, name: &str, source: &EmptyDirVolumeSource) -> Result<One, String> {
    let dir = setup.dir("empty-dir", name);
    // Exists only once all below has been done: contents of a set-up volume are left alone.
    let ready = setup.context.pod_dir(setup.pod).join("plugins/kubernetes.io~empty-dir").join(name);
    let mounted = setup.context.mounter.is_mounted(&dir).map_err(|e| e.to_string())?;
    let medium = source.medium.as_deref().unwrap_or_default();
    if ready.join("ready").exists() && (mounted || medium.is_empty()) && dir.exists() {
        return Ok(One::at(dir));
    }
    fs::create_dir_all(&dir).map_err(|e| format!("mkdir {}: {e}", dir.display()))?;
    if !medium.is_empty() && !mounted {
        mount(setup, &dir, medium, source)?;
    }
    own(setup, &dir, source).map_err(|e| format!("setting up {}: {e}", dir.display()))?;
    fs::create_dir_all(&ready).and_then(|()| fs::write(ready.join("ready"), "")).map_err(|e| e.to_string())?;
    Ok(One::at(dir))
}

fn own(setup: &Setup<'_>, dir: &Path, source: &EmptyDirVolumeSource) -> std::io::Result<()> {
    let mode = source.mode.and_then(|m| u32::try_from(m).ok()).map_or(DEFAULT_MODE, |m| m & 0o1777);
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
    setup.fs_group().map_or(Ok(()), |group| ownership::hand_over(dir, group, false))
}

fn mount(setup: &Setup<'_>, dir: &Path, medium: &str, source: &EmptyDirVolumeSource) -> Result<(), String> {
    let mounter = &setup.context.mounter;
    let failed = |error: std::io::Error| format!("mounting {medium}: {error}");
    if medium == "Memory" {
        return mounter.tmpfs(dir, size_limit(setup, source)).map_err(failed);
    }
    if let Some(size) = huge_page_size(setup, medium)? {
        return mounter.hugepages(dir, size).map_err(failed);
    }
    Err(format!("unknown storage medium {medium:?}"))
}

/// Memory a volume may take: its own limit, the pod's, the node's, whichever is least.
fn size_limit(setup: &Setup<'_>, source: &EmptyDirVolumeSource) -> Option<u64> {
    let own = source.size_limit.as_ref().and_then(|q| Amount::parse(&q.0)).map(|a| a.value());
    let pod = Amount::find(Some(&pod_limits(setup.pod.spec())), MEMORY).map(|a| a.value());
    let node = Amount::find(Some(&setup.context.allocatable), MEMORY).map(|a| a.value());
    let least = [own, pod, node].into_iter().flatten().filter(|bytes| *bytes > 0).min();
    least.and_then(|bytes| u64::try_from(bytes).ok())
}

/// `HugePages-2Mi`, or `HugePages` for the one size that containers ask for.
fn huge_page_size(setup: &Setup<'_>, medium: &str) -> Result<Option<u64>, String> {
    let Some(rest) = medium.strip_prefix("HugePages") else { return Ok(None) };
    let bytes = |size: &str| Amount::parse(size).and_then(|a| u64::try_from(a.value()).ok());
    if let Some(size) = rest.strip_prefix('-') {
        return Ok(bytes(size));
    }
    let containers = setup.pod.containers();
    let requests = containers.filter_map(|(_, c)| c.resources.as_ref()?.requests.as_ref()).flat_map(|r| r.keys());
    let mut sizes: Vec<&str> = requests.filter_map(|name| name.strip_prefix(HUGEPAGES_PREFIX)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    match sizes.as_slice() {
        [size] => Ok(bytes(size)),
        [] => Err(format!(
            "medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )),
        _ => Err(format!("medium: {medium} can't be used if container requests multiple huge page sizes")),
    }
}
