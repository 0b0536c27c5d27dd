//! persistentVolumeClaim and ephemeral: the volume that a claim is bound to, where that is a path of the
//! node (hostPath, local).

use std::path::{Path, PathBuf};

use orlop_api::typed::Typed;
use orlop_api::volumes::{is_fully_bound, is_meant_for, volume_name};

use super::{One, Setup, host_path, ownership};
use crate::corev1::{PersistentVolume, PersistentVolumeClaim, Volume};

pub async fn set_up(setup: &Setup<'_>, volume: &Volume) -> Result<One, String> {
    let (name, read_only) = match &volume.persistent_volume_claim {
        Some(source) => (source.claim_name.clone(), source.read_only == Some(true)),
        None => (format!("{}-{}", setup.pod.name(), volume.name), false),
    };
    let namespace = setup.pod.namespace();
    let failed = |why: String| format!("error processing PVC {namespace}/{name}: {why}");
    let claims = setup.context.client.api::<PersistentVolumeClaim>(namespace);
    let claim = claims.get(&name).await.map_err(|e| failed(format!("failed to fetch PVC from API server: {e}")))?;
    let bound = usable(setup, volume, &claim).map_err(failed)?;
    let volumes = setup.context.client.all::<PersistentVolume>();
    let found =
        volumes.get(bound).await.map_err(|e| failed(format!("failed to fetch PV {bound} from API server: {e}")))?;
    if !is_meant_for(&found, &claim) {
        return Err(failed(format!("PV {bound} is not bound to the PVC")));
    }
    let mut one = place(&found, setup.fs_group())?;
    one.mounted.read_only |= read_only || is_read_only(&found);
    Ok(one)
}

/// The volume that the claim is bound to, if this pod may use it.
fn usable<'a>(setup: &Setup<'_>, volume: &Volume, claim: &'a PersistentVolumeClaim) -> Result<&'a str, String> {
    let owners = claim.metadata.owner_references.iter().flatten();
    let is_made_for_pod = || owners.into_iter().any(|o| o.controller == Some(true) && o.uid == setup.pod.uid());
    if volume.ephemeral.is_some() && !is_made_for_pod() {
        return Err("PVC was not created for the pod".to_owned());
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err("PVC is being deleted".to_owned());
    }
    let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
    if phase != Some("Bound") || !is_fully_bound(claim) {
        return Err("PVC is not bound".to_owned());
    }
    Ok(volume_name(claim))
}

/// Where the volume's bytes lie on this node.
fn place(volume: &PersistentVolume, fs_group: Option<u32>) -> Result<One, String> {
    let spec = volume.spec.as_ref();
    if let Some(source) = spec.and_then(|s| s.host_path.as_ref()) {
        return host_path::set_up(source);
    }
    let Some(local) = spec.and_then(|s| s.local.as_ref()) else {
        return Err(format!("no volume plugin matched for PV {}", Typed::name(volume)));
    };
    let path = PathBuf::from(&local.path);
    check(&path)?;
    if let Some(group) = fs_group {
        let handed = ownership::hand_over(&path, group, is_read_only(volume));
        handed.map_err(|error| format!("applyFSGroup failed for vol {}: {error}", Typed::name(volume)))?;
    }
    Ok(One::at(path))
}

/// A local volume is there before anybody uses it.
fn check(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("path {:?} does not exist", path.display().to_string())),
    }
}

fn is_read_only(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.as_ref().and_then(|s| s.access_modes.as_deref()).unwrap_or_default();
    !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::temp_dir;

    fn volume(spec: Value) -> PersistentVolume {
        let value = json!({"metadata": {"name": "v"}, "spec": spec});
        PersistentVolume::decode(value.to_string().as_bytes()).unwrap()
    }

    fn placed(spec: Value) -> Result<PathBuf, String> {
        place(&volume(spec), None).map(|one| one.mounted.host_path)
    }

    #[test]
    fn volumes_of_the_node_lie_where_they_say() {
        let dir = temp_dir();
        let (made, there) = (dir.path().join("made"), dir.path());
        let host = placed(json!({"hostPath": {"path": made, "type": "DirectoryOrCreate"}}));
        assert_eq!(host, Ok(made.clone()));
        assert!(made.is_dir());
        assert_eq!(placed(json!({"local": {"path": there}})), Ok(there.to_owned()));
        assert_eq!(placed(json!({"local": {"path": "/no/where"}})), Err("path \"/no/where\" does not exist".into()));
        assert_eq!(
            placed(json!({"csi": {"driver": "d", "volumeHandle": "h"}})),
            Err("no volume plugin matched for PV v".into())
        );
        assert!(is_read_only(&volume(json!({"accessModes": ["ReadOnlyMany"]}))));
        assert!(!is_read_only(&volume(json!({"accessModes": ["ReadOnlyMany", "ReadWriteOnce"]}))));
    }
}
