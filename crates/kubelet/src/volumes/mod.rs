//! Volumes: one file per kind. Each is set up below the pod's directory (or is a path of the node),
//! and named in upstream's way on disk, so that what is there can be understood after a restart.

pub mod atomic_writer;
mod claim;
mod config_map;
mod downward;
mod empty_dir;
mod host_path;
mod image;
pub mod mounter;
mod ownership;
mod pem;
pub mod pod_certificate;
mod projected;
mod secret;
pub mod sub_path;
pub mod token;
pub mod trust_bundle;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::container::mounts::{MountedVolume, Volumes};
use crate::context::Context;
use crate::corev1::{Container, Volume};
use crate::pod::spec::NodePod;
use atomic_writer::Payload;

pub use mounter::mounted_layers;

/// One pod's volumes at work.
pub struct Setup<'a> {
    pub context: &'a Context,
    pub pod: &'a NodePod,
    pub now: i64,
    /// The pod is to go: nothing is waited for any longer.
    pub cancelled: &'a CancellationToken,
}

/// All volumes are in place.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    pub volumes: Volumes,
    /// When contents must be looked at again: a token is due.
    pub refresh_nanos: Option<i64>,
}

/// A volume that could not be set up; the text is the event's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
pub struct VolumeError {
    pub volume: String,
    pub why: String,
}

/// One volume in place.
struct One {
    mounted: MountedVolume,
    refresh_nanos: Option<i64>,
}

impl One {
    fn at(host_path: PathBuf) -> Self {
        Self { mounted: MountedVolume { host_path, read_only: false }, refresh_nanos: None }
    }

    fn content(host_path: PathBuf, refresh_nanos: Option<i64>) -> Self {
        Self { mounted: MountedVolume { host_path, read_only: true }, refresh_nanos }
    }
}

/// Files to show, and when to make them anew.
struct Content {
    payload: Payload,
    refresh_nanos: Option<i64>,
}

impl From<Payload> for Content {
    fn from(payload: Payload) -> Self {
        Self { payload, refresh_nanos: None }
    }
}

/// Sets up every volume that a container uses. Safe to repeat: what stands is only brought up to date.
pub async fn prepare(setup: &Setup<'_>) -> Result<Prepared, VolumeError> {
    let used = used(setup.pod);
    let mut prepared = Prepared::default();
    for volume in setup.pod.spec().volumes.iter().flatten().filter(|v| used.contains(v.name.as_str())) {
        let one = setup.one(volume).await.map_err(|why| VolumeError { volume: volume.name.clone(), why })?;
        prepared.volumes.insert(volume.name.clone(), one.mounted);
        prepared.refresh_nanos = earliest(prepared.refresh_nanos, one.refresh_nanos);
    }
    Ok(prepared)
}

/// Unmounts everything below the pod's directory and removes its volumes.
pub fn tear_down(mounter: &dyn mounter::Mounter, pod_dir: &Path) -> io::Result<()> {
    for target in mounter.mounts_below(pod_dir)? {
        mounter.unmount(&target)?;
    }
    // Never delete through a mount: it could be a path of the node's.
    if let Some(left) = mounter.mounts_below(pod_dir)?.first() {
        return Err(io::Error::other(format!("{} is still mounted", left.display())));
    }
    for part in ["volume-subpaths", "volumes"] {
        match std::fs::remove_dir_all(pod_dir.join(part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn volume_dir(pod_dir: &Path, kind: &str, name: &str) -> PathBuf {
    pod_dir.join("volumes").join(format!("kubernetes.io~{kind}")).join(name)
}

/// Volumes whose contents lie on the node's own disk: names and directories (upstream's
/// `IsLocalEphemeralVolume`).
pub fn on_disk(pod_dir: &Path, pod: &NodePod) -> Vec<(String, PathBuf)> {
    let kind = |volume: &Volume| match volume {
        Volume { empty_dir: Some(source), .. } => {
            source.medium.as_deref().unwrap_or_default().is_empty().then_some("empty-dir")
        }
        Volume { config_map: Some(_), .. } => Some("configmap"),
        _ => None,
    };
    let volumes = pod.spec().volumes.iter().flatten();
    volumes.filter_map(|v| Some((v.name.clone(), volume_dir(pod_dir, kind(v)?, &v.name)))).collect()
}

/// Names of volumes that containers mount or read variables from.
fn used(pod: &NodePod) -> BTreeSet<&str> {
    pod.containers().flat_map(|(_, container)| named(container)).collect()
}

fn named(container: &Container) -> Vec<&str> {
    let mounts = container.volume_mounts.iter().flatten().map(|m| m.name.as_str());
    let devices = container.volume_devices.iter().flatten().map(|d| d.name.as_str());
    let sources = container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()?.file_key_ref.as_ref());
    mounts.chain(devices).chain(sources.map(|f| f.volume_name.as_str())).collect()
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

impl Setup<'_> {
    /// Waits for what is not here yet. Work on the disk is not cut short: it would go on unseen.
    async fn waited<T>(&self, operation: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let done = self.cancelled.run_until_cancelled(operation).await;
        done.unwrap_or_else(|| Err("context canceled".to_owned()))
    }

    async fn one(&self, volume: &Volume) -> Result<One, String> {
        if let Some(source) = &volume.empty_dir {
            return empty_dir::set_up(self, &volume.name, source);
        }
        if let Some(source) = &volume.host_path {
            return host_path::set_up(source);
        }
        if let Some(source) = &volume.config_map {
            let content = self.waited(config_map::content(self, source)).await?;
            return self.show(&volume.name, "configmap", content.into(), Medium::Disk).await;
        }
        if let Some(source) = &volume.secret {
            let content = self.waited(secret::content(self, source)).await?;
            return self.show(&volume.name, "secret", content.into(), Medium::Memory).await;
        }
        if let Some(source) = &volume.downward_api {
            let content = downward::content(self, source.items.as_deref(), source.default_mode, None)?;
            return self.show(&volume.name, "downward-api", content.into(), Medium::Memory).await;
        }
        if let Some(source) = &volume.projected {
            let content = self.waited(projected::content(self, &volume.name, source)).await?;
            return self.show(&volume.name, "projected", content, Medium::Memory).await;
        }
        if let Some(source) = &volume.image {
            return image::set_up(self, &volume.name, source).await;
        }
        if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
            return claim::set_up(self, volume).await;
        }
        Err("no volume plugin matched".to_owned())
    }

    /// `<pod>/volumes/kubernetes.io~<kind>/<name>`
    fn dir(&self, kind: &str, name: &str) -> PathBuf {
        volume_dir(&self.context.pod_dir(self.pod), kind, name)
    }

    fn fs_group(&self) -> Option<u32> {
        let group = self.pod.spec().security_context.as_ref()?.fs_group?;
        u32::try_from(group).ok()
    }

    /// The user all containers run as, if they agree: it may own what only it should read.
    fn fs_user(&self) -> Option<u32> {
        let pod_user = self.pod.spec().security_context.as_ref().and_then(|c| c.run_as_user);
        let users =
            self.pod.containers().map(|(_, c)| c.security_context.as_ref().and_then(|s| s.run_as_user).or(pod_user));
        let distinct: BTreeSet<Option<i64>> = users.collect();
        match distinct.into_iter().collect::<Vec<_>>().as_slice() {
            [Some(user)] => u32::try_from(*user).ok(),
            _ => None,
        }
    }

    /// Puts files into a volume, switching all at once.
    async fn show(&self, name: &str, kind: &str, content: Content, medium: Medium) -> Result<One, String> {
        let dir = self.dir(kind, name);
        let (mounter, group) = (self.context.mounter.clone(), self.fs_group());
        let nested = nested_mount_points(self.pod, name);
        let Content { payload, refresh_nanos } = content;
        let path = dir.clone();
        let work = move || -> Result<(), String> {
            std::fs::create_dir_all(&path).map_err(|e| e.to_string())?;
            if medium == Medium::Memory && !mounter.is_mounted(&path).map_err(|e| e.to_string())? {
                mounter.tmpfs(&path, None).map_err(|e| format!("mounting tmpfs: {e}"))?;
            }
            open_to_all(&path).map_err(|e| e.to_string())?;
            for point in nested {
                std::fs::create_dir_all(path.join(point)).map_err(|e| e.to_string())?;
            }
            let own = |dir: &Path| group.map_or(Ok(()), |group| ownership::hand_over(dir, group, true));
            let written = atomic_writer::write(&path, &payload, own);
            written.map(drop).map_err(|error| orlop_base::error::chain(&error))
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())??;
        Ok(One::content(dir, refresh_nanos))
    }
}

/// What holds a volume's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    Disk,
    /// Secrets never touch a disk.
    Memory,
}

/// As upstream's emptyDir below it.
fn open_to_all(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(dir)?.permissions().mode() & 0o7777;
    if mode & 0o777 == 0o777 {
        return Ok(());
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode | 0o777))
}

/// Directories inside a read-only volume at which other volumes are mounted.
fn nested_mount_points(pod: &NodePod, volume: &str) -> BTreeSet<PathBuf> {
    let mut points = BTreeSet::new();
    for (_, container) in pod.containers() {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        let whole = |m: &&crate::corev1::VolumeMount| m.sub_path.as_deref().unwrap_or_default().is_empty();
        for outer in mounts.iter().filter(|m| m.name == volume).filter(whole) {
            let inner = mounts.iter().filter_map(|m| Path::new(&m.mount_path).strip_prefix(&outer.mount_path).ok());
            points.extend(inner.filter(|p| !p.as_os_str().is_empty()).map(Path::to_path_buf));
        }
    }
    points
}
