//! Writing an archive that every tool can read: an OCI layout and a docker archive in one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::ImageError;
use crate::spec::{
    ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, Descriptor, Document, Index, MANIFEST_BYTES_MAX, Manifest, OCI_INDEX,
    OCI_MANIFEST,
};
use crate::store::{Local, Record, io_error};

/// Writes the image to `path`.
pub fn export(local: &Local, record: &Record, path: &Path) -> Result<(), ImageError> {
    let _making = local.making()?;
    let bytes = local.read_blob(&record.manifest, MANIFEST_BYTES_MAX)?;
    let Document::Manifest(manifest) = Document::parse(&bytes)? else {
        return Err(ImageError::Malformed(format!("{} is not a manifest", record.manifest)));
    };
    let doing = || format!("write {}", path.display());
    let file = File::create(path).map_err(|e| io_error(doing(), e))?;
    let mut tar = tar::Builder::new(BufWriter::new(file));
    let json = |value: serde_json::Value| value.to_string().into_bytes();
    let parts = [
        ("oci-layout", json(serde_json::json!({"imageLayoutVersion": "1.0.0"}))),
        ("index.json", json(serde_json::json!(index(record, bytes.len() as u64)))),
        ("manifest.json", json(docker_manifest(record, &manifest))),
    ];
    for (name, bytes) in &parts {
        append(&mut tar, name, bytes.len() as u64, &bytes[..]).map_err(|e| io_error(doing(), e))?;
    }
    let mut blobs = vec![&record.manifest, &manifest.config.digest];
    blobs.extend(manifest.layers.iter().map(|layer| &layer.digest));
    blobs.sort();
    blobs.dedup();
    for digest in blobs {
        let blob = local.open_blob(digest)?;
        let size = blob.metadata().map_err(|e| io_error(doing(), e))?.len();
        let name = format!("blobs/{}/{}", digest.algorithm(), digest.hex());
        append(&mut tar, &name, size, blob).map_err(|e| io_error(doing(), e))?;
    }
    let written = tar.into_inner().and_then(|mut writer| writer.flush());
    written.map_err(|e| io_error(doing(), e))
}

fn index(record: &Record, manifest_size: u64) -> Index {
    let entry = |name: Option<&String>| {
        let mut descriptor = Descriptor::new(OCI_MANIFEST, record.manifest.clone(), manifest_size);
        if let Some(name) = name {
            let tag = name.rsplit(':').next().unwrap_or_default();
            descriptor.annotations.insert(ANNOTATION_IMAGE_NAME.into(), name.clone());
            descriptor.annotations.insert(ANNOTATION_REF_NAME.into(), tag.into());
        }
        descriptor
    };
    let manifests = match &record.tags[..] {
        [] => vec![entry(None)],
        tags => tags.iter().map(|tag| entry(Some(tag))).collect(),
    };
    Index { schema_version: 2, media_type: OCI_INDEX.into(), manifests }
}

fn docker_manifest(record: &Record, manifest: &Manifest) -> serde_json::Value {
    let path = |d: &Descriptor| format!("blobs/{}/{}", d.digest.algorithm(), d.digest.hex());
    serde_json::json!([{
        "Config": path(&manifest.config),
        "RepoTags": record.tags,
        "Layers": manifest.layers.iter().map(path).collect::<Vec<_>>(),
    }])
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, data: impl std::io::Read) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, name, data)
}
