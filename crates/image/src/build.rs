//! Making an image of files at hand, without a build tool: one layer, the same digests every time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::digest::{Digest, Hashing};
use crate::reference::Reference;
use crate::spec::{ConfigFile, Descriptor, Manifest, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};
use crate::store::{Local, Names, Source, io_error};
use crate::{ImageConfig, ImageError};

/// The content of an image to be. Everything belongs to root and is as old as the epoch.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Dir { mode: u32 },
    File { source: PathBuf, mode: u32 },
    Bytes { bytes: Vec<u8>, mode: u32 },
    Symlink { target: PathBuf },
}

impl Tree {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn dir(&mut self, path: impl AsRef<Path>, mode: u32) -> &mut Self {
        self.insert(path.as_ref(), Node::Dir { mode })
    }

    /// A file of the host.
    pub fn file(&mut self, path: impl AsRef<Path>, source: impl Into<PathBuf>, mode: u32) -> &mut Self {
        self.insert(path.as_ref(), Node::File { source: source.into(), mode })
    }

    pub fn bytes(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>, mode: u32) -> &mut Self {
        self.insert(path.as_ref(), Node::Bytes { bytes: bytes.into(), mode })
    }

    pub fn symlink(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) -> &mut Self {
        self.insert(path.as_ref(), Node::Symlink { target: target.into() })
    }

    /// Everything below a directory of the host: directories, files and symlinks, with their modes.
    pub fn copy_from(&mut self, root: &Path) -> io::Result<&mut Self> {
        let mut pending = vec![PathBuf::new()];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(root.join(&dir))? {
                let entry = entry?;
                let path = dir.join(entry.file_name());
                let meta = entry.metadata()?;
                let mode = meta.permissions().mode() & 0o7777;
                if meta.is_dir() {
                    self.dir(&path, mode);
                    pending.push(path);
                } else if meta.is_symlink() {
                    self.symlink(&path, std::fs::read_link(entry.path())?);
                } else if meta.is_file() {
                    self.file(&path, entry.path(), mode);
                }
            }
        }
        Ok(self)
    }

    fn insert(&mut self, path: &Path, node: Node) -> &mut Self {
        let path: PathBuf = path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
        for parent in path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
            self.nodes.entry(parent.to_owned()).or_insert(Node::Dir { mode: 0o755 });
        }
        if !path.as_os_str().is_empty() {
            self.nodes.insert(path, node);
        }
        self
    }

    fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        for (path, node) in &self.nodes {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match node {
                Node::Dir { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    tar.append_data(&mut header, path.join(""), io::empty())?;
                }
                Node::File { source, mode } => {
                    let file = File::open(source)
                        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", source.display())))?;
                    header.set_mode(*mode);
                    header.set_size(file.metadata()?.len());
                    tar.append_data(&mut header, path, file)?;
                }
                Node::Bytes { bytes, mode } => {
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, &bytes[..])?;
                }
                Node::Symlink { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        tar.finish()
    }
}

/// Makes the image and returns its id.
pub fn build(local: &Local, tree: &Tree, config: ImageConfig, reference: &Reference) -> Result<String, ImageError> {
    let _making = local.making()?;
    let writer = local.blob_writer(None)?;
    let mut tar = Hashing::new(GzEncoder::new(writer, Compression::default()));
    tree.write(&mut tar).map_err(|e| io_error("pack the layer", e))?;
    let (gzip, diff_id, _) = tar.finish();
    let writer = gzip.finish().map_err(|e| io_error("pack the layer", e))?;
    let (layer, layer_size) = local.commit_blob(writer, None)?;
    let config = ConfigFile { config, diff_ids: vec![diff_id] }.render();
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.into(),
        config: Descriptor::new(OCI_CONFIG, local.put_blob(&config)?, config.len() as u64),
        layers: vec![Descriptor::new(OCI_LAYER_GZIP, layer, layer_size)],
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|e| ImageError::Malformed(e.to_string()))?;
    let digest: Digest = local.put_blob(&bytes)?;
    let names = Names { tags: reference.tagged().into_iter().collect(), digests: vec![reference.with_digest(&digest)] };
    local.assemble(&Source { manifest: digest.clone(), documents: vec![digest] }, &manifest, &names)
}
