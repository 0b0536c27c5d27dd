//! Which users of the host a pod's own users are (`hostUsers: false`; `pkg/kubelet/userns`). Every such pod has a
//! range to itself, written in its directory: what is on disk is taken, and free again when the directory goes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use orlop_runtime::UserNamespace;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::pod::spec::NodePod;

/// `DefaultKubeletUserNamespacesIDsPerPod`.
const IDS_PER_POD: u32 = 65_536;
/// Ranges there are: all ids but the first range, in which the host's own users are.
const RANGES: u32 = u32::MAX / IDS_PER_POD;
/// In a pod's directory.
const FILE: &str = "userns";

/// The file's content, as upstream's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mappings {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// The pod's range; `None` if its users are the host's.
pub fn of(context: &Context, pod: &NodePod) -> Result<Option<UserNamespace>, String> {
    if pod.spec().host_users != Some(false) {
        return Ok(None);
    }
    if !context.runtime.user_namespaces() {
        return Err("can't set `spec.hostUsers: false`, runtime does not support user namespaces".to_owned());
    }
    range(&context.pods_dir(), pod.uid()).map(Some)
}

fn range(pods: &Path, uid: &str) -> Result<UserNamespace, String> {
    /// Two pods may ask at once.
    static ALLOCATING: Mutex<()> = Mutex::new(());
    let _one = ALLOCATING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = pods.join(uid).join(FILE);
    if file.exists() {
        return read(&file).map_err(|why| format!("user namespace: {why}"));
    }
    let failed = |why: io::Error| format!("create user namespace: {why}");
    fs::create_dir_all(pods.join(uid)).map_err(failed)?;
    let taken = taken(pods).map_err(failed)?;
    let free = (1..=RANGES).map(|number| number * IDS_PER_POD).find(|first| !taken.contains(first));
    let first = free.ok_or("create user namespace: could not find an empty slot to allocate a user namespace")?;
    write(&file, first).map_err(failed)?;
    Ok(UserNamespace { first, length: IDS_PER_POD })
}

/// First ids of the ranges that pods have.
fn taken(pods: &Path) -> io::Result<BTreeSet<u32>> {
    let files = fs::read_dir(pods)?.map(|entry| Ok(entry?.path().join(FILE))).collect::<io::Result<Vec<PathBuf>>>()?;
    Ok(files.iter().filter_map(|file| read(file).ok()).map(|range| range.first).collect())
}

fn read(file: &Path) -> Result<UserNamespace, String> {
    let text = fs::read(file).map_err(|why| why.to_string())?;
    let mappings: Mappings =
        serde_json::from_slice(&text).map_err(|why| format!("invalid user namespace mappings file: {why}"))?;
    match (&mappings.uid_mappings[..], &mappings.gid_mappings[..]) {
        ([uids], [gids]) if uids == gids && uids.container_id == 0 => {
            Ok(UserNamespace { first: uids.host_id, length: uids.length })
        }
        _ => Err("invalid user namespace configuration: GID and UID mapping should be identical".to_owned()),
    }
}

/// On disk before anything runs by it: two pods with one range would be no confinement.
fn write(file: &Path, first: u32) -> io::Result<()> {
    let mapping = Mapping { host_id: first, container_id: 0, length: IDS_PER_POD };
    let text = serde_json::to_vec(&Mappings { uid_mappings: vec![mapping], gid_mappings: vec![mapping] })?;
    let temporary = file.with_extension("tmp");
    fs::write(&temporary, text)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, file)?;
    file.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_apart_kept_and_free_again() {
        let pods = tempfile::tempdir().unwrap();
        fs::create_dir(pods.path().join("without")).unwrap();
        let first = |uid: &str| range(pods.path(), uid).unwrap().first;
        assert_eq!([first("a"), first("b"), first("a")], [65_536, 131_072, 65_536]);
        fs::remove_dir_all(pods.path().join("a")).unwrap();
        assert_eq!(first("c"), 65_536);
        fs::write(pods.path().join("without").join(FILE), "{}").unwrap();
        assert!(range(pods.path(), "without").unwrap_err().starts_with("user namespace: invalid user namespace"));
    }
}
