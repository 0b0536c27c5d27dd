//! Warnings of a pod's volumes.

use serde_json::Value;

use super::prelude::*;
use super::resources::is_whole;

const OLD_SOURCES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(crate) fn volumes(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let at = path.child("volumes");
    for (i, volume) in spec.list("volumes").iter().enumerate() {
        for (_, name, why) in OLD_SOURCES.iter().filter(|(field, ..)| volume.has(field)) {
            warnings.push(format!("{}: {why}", at.index(i).child(name)));
        }
        let at = at.index(i);
        claim(
            volume.at("ephemeral.volumeClaimTemplate.spec"),
            &at.child("ephemeral.volumeClaimTemplate.spec"),
            warnings,
        );
    }
    spec.list("volumes").iter().for_each(|volume| overlaps(volume, warnings));
}

/// A claim whose size is no whole number of bytes.
pub(crate) fn claim(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let resources = path.child("resources");
    for list in ["requests", "limits"] {
        let size = spec["resources"][list].get("storage").map(super::resources::quantity);
        if let Some(size) = size.filter(|size| !is_whole(size)) {
            let at = resources.child(list);
            let at = at.key("storage");
            warnings.push(format!("{at}: fractional byte value \"{size}\" is invalid, must be an integer"));
        }
    }
}

/// A file of a volume and what it comes from, empty within one source.
#[derive(Clone, PartialEq)]
struct File {
    path: String,
    source: String,
}

impl std::fmt::Display for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source.as_str() {
            "" => write!(f, "{:?}", self.path),
            source => write!(f, "{:?} ({source})", self.path),
        }
    }
}

fn overlaps(volume: &Value, warnings: &mut Vec<String>) {
    let name = volume.text("name");
    let mut warn = |what: &str, body: String| {
        warnings.push(format!("volume {name:?} ({what}): overlapping paths: {body}"));
    };
    for (field, what) in [
        ("configMap", format!("ConfigMap {:?}", volume.text("configMap.name"))),
        ("secret", format!("Secret {:?}", volume.text("secret.secretName"))),
        ("downwardAPI", "DownwardAPI".to_owned()),
    ] {
        let mut seen = Vec::new();
        for file in files(&volume[field], "") {
            collisions(&mut seen, file).into_iter().for_each(|body| warn(&what, body));
        }
    }
    let mut seen = Vec::new();
    for source in volume.list("projected.sources") {
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        for file in projected_files(source) {
            for body in collisions(&mut seen, file) {
                warnings.push(format!("volume {name:?} (Projected): overlapping paths: {body}"));
            }
        }
    }
}

fn files(source: &Value, what: &str) -> Vec<File> {
    let file = |item: &Value| File { path: item.text("path").to_owned(), source: what.to_owned() };
    source.list("items").iter().map(file).collect()
}

fn projected_files(source: &Value) -> Vec<File> {
    let one = |path: &str, what: String| vec![File { path: path.to_owned(), source: what }];
    if !source.list("configMap.items").is_empty() {
        files(&source["configMap"], &format!("ConfigMap {:?}", source.text("configMap.name")))
    } else if !source.list("secret.items").is_empty() {
        files(&source["secret"], &format!("Secret {:?}", source.text("secret.name")))
    } else if !source.list("downwardAPI.items").is_empty() {
        files(&source["downwardAPI"], "DownwardAPI")
    } else if source.has("serviceAccountToken") {
        one(source.text("serviceAccountToken.path"), "ServiceAccountToken".to_owned())
    } else if source.has("clusterTrustBundle") {
        let bundle = &source["clusterTrustBundle"];
        let name = if bundle.has("name") { bundle.text("name") } else { bundle.text("signerName") };
        one(bundle.text("path"), format!("ClusterTrustBundle {name:?}"))
    } else {
        let certificate = &source["podCertificate"];
        let fields =
            [("certificateChainPath", "chain"), ("keyPath", "key"), ("credentialBundlePath", "credential bundle")];
        let set = fields.into_iter().filter(|(field, _)| !certificate.text(field).is_empty());
        set.flat_map(|(field, what)| one(certificate.text(field), format!("PodCertificate {what}"))).collect()
    }
}

/// Adds a file; says which of those before it is the same, above it or below it.
fn collisions(seen: &mut Vec<File>, mut file: File) -> Vec<String> {
    file.path.truncate(file.path.trim_end_matches('/').len());
    let within = |a: &str, b: &str| format!("{a}/").starts_with(&format!("{b}/"));
    let collides = |other: &File| {
        !file.path.is_empty()
            && !other.path.is_empty()
            && (within(&other.path, &file.path) || within(&file.path, &other.path))
    };
    let found = seen.iter().filter(|other| collides(other)).map(|other| format!("{file} with {other}")).collect();
    seen.push(file);
    found
}
