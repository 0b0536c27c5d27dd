//! Static pods: manifests in a directory, followed by inotify (`pkg/kubelet/config/file.go`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use orlop_api::schema;
use orlop_api::typed::Typed;
use orlop_api::{Value, codec, defaults, meta};
use rustix::fs::inotify;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::corev1::Pod;
use crate::fd_io::FdReader;
use crate::pod::spec::{NodePod, Origin};
use crate::roster::Roster;

/// A manifest is not larger (`maxConfigLength`: 10 MiB).
const MAX_MANIFEST_BYTES: u64 = 10 << 20;

/// Runs what the directory holds, until `shutdown`.
pub async fn follow(roster: Arc<Roster>, dir: &Path, node_name: &str, shutdown: CancellationToken) {
    let mut watch = match watch(dir) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(dir = %dir.display(), %error, "watching static pod manifests");
            return roster.source_is_ready();
        }
    };
    let mut running = BTreeMap::new();
    apply(&roster, read_dir(dir, node_name), &mut running);
    roster.source_is_ready();
    while let Some(Ok(())) = shutdown.run_until_cancelled(changed(&mut watch)).await {
        apply(&roster, read_dir(dir, node_name), &mut running);
    }
}

/// The watch stands before the first reading, so that no change falls between.
fn watch(dir: &Path) -> io::Result<FdReader> {
    use inotify::WatchFlags as Flags;
    fs::create_dir_all(dir)?;
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let events = Flags::CLOSE_WRITE | Flags::DELETE | Flags::MOVED_FROM | Flags::MOVED_TO;
    inotify::add_watch(&fd, dir, events)?;
    FdReader::new(fd)
}

/// Returns once something has changed; what piled up counts as one.
async fn changed(watch: &mut FdReader) -> io::Result<()> {
    let mut events = [0; 4096];
    watch.read(&mut events).await.map(drop)
}

fn apply(roster: &Arc<Roster>, pods: BTreeMap<String, NodePod>, running: &mut BTreeMap<String, ()>) {
    for uid in running.keys().filter(|uid| !pods.contains_key(*uid)).cloned().collect::<Vec<_>>() {
        running.remove(&uid);
        if let Some(handle) = roster.get(&uid) {
            handle.remove();
        }
    }
    for (uid, pod) in pods {
        if running.insert(uid, ()).is_none() {
            roster.add(pod);
        }
    }
}

/// Pods by uid; a file that is no pod is told of and skipped.
fn read_dir(dir: &Path, node_name: &str) -> BTreeMap<String, NodePod> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.retain(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| !name.starts_with('.')));
    let mut pods = BTreeMap::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        match read(&path, node_name) {
            Ok(pod) => {
                pods.insert(pod.uid().to_owned(), pod);
            }
            Err(error) => tracing::error!(file = %path.display(), error, "could not process manifest file"),
        }
    }
    pods
}

fn read(path: &Path, node_name: &str) -> Result<NodePod, String> {
    let metadata = fs::metadata(path).map_err(|e| e.to_string())?;
    if metadata.len() > MAX_MANIFEST_BYTES {
        return Err(format!("larger than {MAX_MANIFEST_BYTES} bytes"));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let object = codec::yaml::from_yaml(&bytes).map_err(|e| e.to_string())?;
    let pod = completed(object, &bytes, node_name)?;
    Pod::decode(pod.to_string().as_bytes())
        .map(|pod| NodePod::new(Arc::new(pod), Origin::Static))
        .map_err(|e| e.to_string())
}

/// What the API would have filled in, and what marks a static pod.
fn completed(mut pod: Value, manifest: &[u8], node_name: &str) -> Result<Value, String> {
    if pod["kind"] != "Pod" || pod["apiVersion"] != "v1" {
        return Err(format!("couldn't parse as pod({} {}), please check config file", pod["apiVersion"], pod["kind"]));
    }
    if meta::name(&pod).is_empty() {
        return Err("a static pod needs a name".to_owned());
    }
    let hash = hash(manifest, node_name);
    let uid = if meta::uid(&pod).is_empty() { hash.clone() } else { meta::uid(&pod).to_owned() };
    let name = format!("{}-{}", meta::name(&pod), node_name.to_lowercase());
    let namespace = if meta::namespace(&pod).is_empty() { "default" } else { meta::namespace(&pod) }.to_owned();
    for (field, value) in [("uid", uid), ("name", name), ("namespace", namespace)] {
        meta::set(&mut pod, field, value);
    }
    let annotations = meta::metadata_mut(&mut pod).entry("annotations").or_insert_with(|| json!({}));
    annotations["kubernetes.io/config.hash"] = hash.into();
    annotations["kubernetes.io/config.source"] = "file".into();
    annotations["kubernetes.io/config.seen"] = format!("{:.9}", orlop_base::clock::now()).into();
    let spec = meta::child_mut(&mut pod, "spec");
    spec.insert("nodeName".to_owned(), node_name.into());
    // The taints of a failing node do not chase what nobody could start again.
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(list) = tolerations.as_array_mut() {
        list.push(json!({"operator": "Exists", "effect": "NoExecute"}));
    }
    if let Some(ty) = schema::builtin().of("v1", "Pod") {
        defaults::apply(&ty, &mut pod);
    }
    Ok(pod)
}

/// Another text is another pod, as is the same text on another node.
fn hash(manifest: &[u8], node_name: &str) -> String {
    // FNV-1a over 128 bits; told apart from chance, not from malice: who writes here is root.
    let fold = |h: u128, b: &u8| (h ^ u128::from(*b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    let hash = manifest.iter().chain(node_name.as_bytes()).fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, fold);
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[test]
    fn a_manifest_becomes_a_pod_of_this_node() {
        let dir = temp_dir();
        let manifest =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: nginx}\n";
        fs::write(dir.path().join("web.yaml"), manifest).unwrap();
        fs::write(dir.path().join(".hidden.yaml"), manifest).unwrap();
        fs::write(dir.path().join("broken.yaml"), "kind: [").unwrap();
        let pods = read_dir(dir.path(), "Node-1");
        let pod = pods.values().next().unwrap();
        assert_eq!((pods.len(), pod.name(), pod.namespace()), (1, "web-node-1", "default"));
        assert_eq!(pod.uid(), hash(manifest.as_bytes(), "Node-1"));
        assert_eq!(pod.annotation("kubernetes.io/config.source"), Some("file"));
        assert_eq!(pod.spec().restart_policy.as_deref(), Some("Always"), "defaulted");
    }
}
