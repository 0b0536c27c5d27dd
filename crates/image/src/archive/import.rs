//! Reading archives: OCI image layouts, `docker save` files, and the many that are both.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use crate::digest::Digest;
use crate::reference::Reference;
use crate::spec::{
    self, ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, Descriptor, Document, Index, MANIFEST_BYTES_MAX, Manifest,
    OCI_CONFIG, OCI_LAYER, OCI_MANIFEST,
};
use crate::store::{Local, Names, Source, io_error};
use crate::unpack::decompress;
use crate::{ImageError, Progress};

const INDEX: &str = "index.json";
const DOCKER_MANIFEST: &str = "manifest.json";
/// Older docker archives link layers to one another; real chains are one link long.
const LINKS_MAX: usize = 8;

/// Takes in every image of the archive that fits this machine, and returns their ids.
pub fn import(
    local: &Local,
    archive: &Path,
    reference: Option<&Reference>,
    progress: Option<&Progress>,
) -> Result<Vec<String>, ImageError> {
    let _making = local.making()?;
    let doing = || format!("read {}", archive.display());
    let file = File::open(archive).map_err(|e| io_error(doing(), e))?;
    let total = file.metadata().map_or(0, |meta| meta.len());
    let counted = Counted { inner: file, done: 0, total, progress: progress.cloned() };
    let tar = decompress(counted).map_err(|e| io_error(doing(), e))?;
    let files = Files::read(local, tar).map_err(|error| match error {
        ReadError::Archive(e) => io_error(doing(), e),
        ReadError::Store(e) => e,
    })?;
    if let Some(index) = &files.index {
        return import_oci(local, &files, index, reference);
    }
    match &files.docker {
        Some(entries) => import_docker(local, &files, entries, reference),
        None => Err(ImageError::Malformed(format!(
            "{}: neither an OCI nor a docker archive: no {INDEX} and no {DOCKER_MANIFEST}",
            archive.display()
        ))),
    }
}

fn import_oci(
    local: &Local,
    files: &Files,
    index: &Index,
    reference: Option<&Reference>,
) -> Result<Vec<String>, ImageError> {
    let fitting: Vec<&Descriptor> = index.manifests.iter().filter(|d| fits(d)).collect();
    if fitting.is_empty() {
        spec::select(index)?;
    }
    let docker_names: Vec<&str> =
        files.docker.iter().flatten().flat_map(|entry| entry.repo_tags.iter().flatten()).map(String::as_str).collect();
    let mut ids = Vec::new();
    for descriptor in &fitting {
        let mut documents = vec![descriptor.digest.clone()];
        let mut digest = descriptor.digest.clone();
        let manifest = loop {
            match Document::parse(&local.read_blob(&digest, MANIFEST_BYTES_MAX)?)? {
                Document::Manifest(manifest) => break manifest,
                Document::Index(inner) => {
                    digest = spec::select(&inner)?.digest.clone();
                    documents.push(digest.clone());
                    if documents.len() > LINKS_MAX {
                        return Err(ImageError::Malformed("image index: nested too deeply".into()));
                    }
                }
            }
        };
        let names = match reference {
            Some(reference) => vec![reference.clone()],
            None => names_of(descriptor, if fitting.len() == 1 { &docker_names } else { &[] })?,
        };
        let names = names_with_digest(&names, &descriptor.digest);
        ids.push(local.assemble(&Source { manifest: digest, documents }, &manifest, &names)?);
    }
    Ok(ids)
}

fn fits(descriptor: &Descriptor) -> bool {
    let platform = descriptor.platform.as_ref();
    platform.is_none_or(|p| p.architecture == spec::architecture() && p.os == "linux")
}

/// The full name of an index entry; a bare tag is no name, so docker's file may help out.
fn names_of(descriptor: &Descriptor, docker_names: &[&str]) -> Result<Vec<Reference>, ImageError> {
    let annotation = |key| descriptor.annotations.get(key).map(String::as_str);
    let full = annotation(ANNOTATION_IMAGE_NAME);
    let named = full.or_else(|| annotation(ANNOTATION_REF_NAME).filter(|name| name.contains([':', '/'])));
    let names: Vec<&str> = named.map_or_else(|| docker_names.to_vec(), |name| vec![name]);
    if names.is_empty() {
        return Err(ImageError::Malformed("the archive does not name its image: give it a name".into()));
    }
    names.into_iter().map(Reference::parse).collect()
}

fn names_with_digest(references: &[Reference], manifest: &Digest) -> Names {
    Names {
        tags: references.iter().filter_map(Reference::tagged).collect(),
        digests: references.iter().map(|reference| reference.with_digest(manifest)).collect(),
    }
}

fn import_docker(
    local: &Local,
    files: &Files,
    entries: &[DockerEntry],
    reference: Option<&Reference>,
) -> Result<Vec<String>, ImageError> {
    let mut ids = Vec::new();
    for entry in entries {
        let names = match reference {
            Some(reference) => vec![reference.clone()],
            None => entry.repo_tags.iter().flatten().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?,
        };
        if names.is_empty() {
            return Err(ImageError::Malformed("the archive does not name its image: give it a name".into()));
        }
        let layers = entry.layers.iter().map(|path| files.descriptor(OCI_LAYER, path));
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.into(),
            config: files.descriptor(OCI_CONFIG, &entry.config)?,
            layers: layers.collect::<Result<_, _>>()?,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|e| ImageError::Malformed(e.to_string()))?;
        let digest = local.put_blob(&bytes)?;
        let names = names_with_digest(&names, &digest);
        ids.push(local.assemble(&Source { manifest: digest.clone(), documents: vec![digest] }, &manifest, &names)?);
    }
    Ok(ids)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What an archive holds: its files, already in the store, and its tables of contents.
#[derive(Default)]
struct Files {
    by_path: BTreeMap<String, (Digest, u64)>,
    links: BTreeMap<String, String>,
    index: Option<Index>,
    docker: Option<Vec<DockerEntry>>,
}

enum ReadError {
    Archive(io::Error),
    Store(ImageError),
}

impl Files {
    fn read(local: &Local, tar: impl Read) -> Result<Self, ReadError> {
        let mut files = Self::default();
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().map_err(ReadError::Archive)? {
            let mut entry = entry.map_err(ReadError::Archive)?;
            let path = normal(&String::from_utf8_lossy(&entry.path_bytes()), "");
            match entry.header().entry_type() {
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let hard = entry.header().entry_type() == tar::EntryType::Link;
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let base = if hard { "" } else { path.rsplit_once('/').map_or("", |(dir, _)| dir) };
                    files.links.insert(path.clone(), normal(&String::from_utf8_lossy(&target), base));
                }
                kind if kind.is_file() => files.take(local, path, &mut entry)?,
                _ => {}
            }
        }
        Ok(files)
    }

    fn take(&mut self, local: &Local, path: String, content: &mut impl Read) -> Result<(), ReadError> {
        match path.as_str() {
            INDEX => self.index = Some(read_json(&path, content)?),
            DOCKER_MANIFEST => self.docker = Some(read_json(&path, content)?),
            _ => {
                let expected = path.strip_prefix("blobs/").map(|rest| rest.replace('/', ":"));
                let expected = expected.and_then(|text| Digest::parse(&text));
                let mut writer = local.blob_writer(expected.as_ref()).map_err(ReadError::Store)?;
                io::copy(content, &mut writer).map_err(ReadError::Archive)?;
                let blob = local.commit_blob(writer, expected.as_ref()).map_err(ReadError::Store)?;
                self.by_path.insert(path, blob);
            }
        }
        Ok(())
    }

    fn descriptor(&self, media_type: &str, path: &str) -> Result<Descriptor, ImageError> {
        let mut path = normal(path, "");
        for _ in 0..LINKS_MAX {
            if let Some((digest, size)) = self.by_path.get(&path) {
                return Ok(Descriptor::new(media_type, digest.clone(), *size));
            }
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => break,
            }
        }
        Err(ImageError::Malformed(format!("docker archive: {path} is missing")))
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &str, content: &mut impl Read) -> Result<T, ReadError> {
    let mut bytes = Vec::new();
    content.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes).map_err(ReadError::Archive)?;
    serde_json::from_slice(&bytes).map_err(|e| ReadError::Store(ImageError::Malformed(format!("{path}: {e}"))))
}

/// `path` below `base`, without `.` and `..`.
fn normal(path: &str, base: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { base.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

/// Tells how much of the archive file has been read.
struct Counted {
    inner: File,
    done: u64,
    total: u64,
    progress: Option<Progress>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.done += n as u64;
        if let Some(progress) = &self.progress {
            progress(self.done, self.total.max(self.done));
        }
        Ok(n)
    }
}
