//! Which volumes a container sees, where, and how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orlop_runtime::Mount;

use crate::corev1::{Container, VolumeMount};
use crate::env::expansion::expand;

/// A mounted volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedVolume {
    pub host_path: PathBuf,
    /// No container may write to it.
    pub read_only: bool,
}

pub type Volumes = BTreeMap<String, MountedVolume>;

/// One `volumeMount` resolved against its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub volume: String,
    pub volume_path: PathBuf,
    /// Relative, without `..`; empty: the whole volume.
    pub sub_path: String,
    pub container_path: PathBuf,
    pub read_only: bool,
    pub recursive_read_only: bool,
    pub propagation: String,
}

impl Wanted {
    /// The runtime's mount, once the source is known.
    pub fn mount(&self, source: PathBuf) -> Mount {
        Mount {
            container_path: self.container_path.clone(),
            host_path: source,
            read_only: self.read_only,
            recursive_read_only: self.recursive_read_only,
            propagation: self.propagation.clone(),
        }
    }
}

/// All `volumeMounts` of a container, in order.
pub fn wanted(container: &Container, volumes: &Volumes, env: &[(String, String)]) -> Result<Vec<Wanted>, String> {
    container.volume_mounts.iter().flatten().map(|mount| one(container, mount, volumes, env)).collect()
}

/// Does the container bring its own file at `path`?
pub fn covers(container: &Container, path: &str) -> bool {
    container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == path)
}

fn one(
    container: &Container,
    mount: &VolumeMount,
    volumes: &Volumes,
    env: &[(String, String)],
) -> Result<Wanted, String> {
    let volume = volumes
        .get(&mount.name)
        .ok_or_else(|| format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name))?;
    let read_only = mount.read_only == Some(true);
    let recursive = matches!(mount.recursive_read_only.as_deref(), Some("IfPossible" | "Enabled"));
    Ok(Wanted {
        volume: mount.name.clone(),
        volume_path: volume.host_path.clone(),
        sub_path: sub_path(mount, env)?,
        container_path: absolute(&mount.mount_path),
        read_only: read_only || volume.read_only,
        recursive_read_only: read_only && recursive,
        propagation: propagation(mount.mount_propagation.as_deref())?,
    })
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<String, String> {
    let expr = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty());
    let path = match expr {
        None => mount.sub_path.clone().unwrap_or_default(),
        Some(expr) => expanded(expr, env)?,
    };
    if Path::new(&path).is_absolute() {
        return Err(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if Path::new(&path).components().any(|part| part.as_os_str() == "..") {
        return Err("unable to provision SubPath: must not contain '..'".to_owned());
    }
    Ok(path)
}

/// Unlike elsewhere, every variable must be known here.
fn expanded(expr: &str, env: &[(String, String)]) -> Result<String, String> {
    let mut missing = std::collections::BTreeSet::new();
    let path = expand(expr, |name| {
        let value = env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
        if value.is_empty() {
            missing.insert(name.to_owned());
        }
        Some(value)
    });
    if missing.is_empty() {
        return Ok(path);
    }
    Err(format!("missing value for {}", missing.into_iter().collect::<Vec<_>>().join(", ")))
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn propagation(mode: Option<&str>) -> Result<String, String> {
    match mode {
        None | Some("None") => Ok("private".to_owned()),
        Some("HostToContainer") => Ok("rslave".to_owned()),
        Some("Bidirectional") => Ok("rshared".to_owned()),
        Some(other) => Err(format!("invalid MountPropagation mode: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn resolve(mount: Value) -> Result<Wanted, String> {
        let pod = pod(json!({"containers": [{"name": "c", "volumeMounts": [mount]}]}));
        let volumes = [("v".to_owned(), MountedVolume { host_path: "/vol".into(), read_only: false })].into();
        let env = [("POD".to_owned(), "p1".to_owned())];
        wanted(&pod.main_containers()[0], &volumes, &env).map(|mut all| all.remove(0))
    }

    #[test]
    fn mounts() {
        let whole = resolve(json!({"name": "v", "mountPath": "/data"})).unwrap();
        assert_eq!((whole.propagation.as_str(), whole.sub_path.as_str()), ("private", ""));
        let part = resolve(json!({"name": "v", "mountPath": "data", "subPathExpr": "logs/$(POD)", "readOnly": true,
            "recursiveReadOnly": "IfPossible", "mountPropagation": "HostToContainer"}));
        let part = part.unwrap();
        assert_eq!((part.sub_path.as_str(), part.container_path.to_str().unwrap()), ("logs/p1", "/data"));
        assert!(part.read_only && part.recursive_read_only && part.propagation == "rslave");
    }

    #[test]
    fn what_cannot_be_mounted_says_why() {
        for (mount, error) in [
            (json!({"name": "x", "mountPath": "/"}), "cannot find volume \"x\" to mount into container \"c\""),
            (
                json!({"name": "v", "mountPath": "/", "subPath": "/a"}),
                "error SubPath `/a` must not be an absolute path",
            ),
            (
                json!({"name": "v", "mountPath": "/", "subPath": "a/../b"}),
                "unable to provision SubPath: must not contain '..'",
            ),
            (json!({"name": "v", "mountPath": "/", "subPathExpr": "$(NO)/$(POD)"}), "missing value for NO"),
        ] {
            assert_eq!(resolve(mount).unwrap_err(), error);
        }
    }
}
