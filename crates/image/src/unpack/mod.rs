//! From a layer's tar stream to a directory that overlayfs takes as a lower layer.
//!
//! A layer normally stands alone: its directory is named by its diff id and shared by every image
//! that has it. A layer that leaves out parent directories, walks through symlinks of the layers
//! below, or links to files below does not: [`unpack`] then answers [`UnpackError::NeedsLower`]
//! and is asked again with the layers below at hand.

mod decompress;
mod entry;
pub mod lower;
mod tree;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use decompress::decompress;
use tree::Tree;

use crate::ImageError;

/// More entries than any image has; keeps a hostile archive from eating all inodes.
const ENTRIES_MAX: u64 = 4_000_000;
/// Uncompressed bytes of one layer.
const BYTES_MAX: u64 = 128 << 30;

/// The unpacked layers below the one at hand.
#[derive(Clone, Copy, Debug)]
pub enum Below<'a> {
    /// Not unpacked yet.
    Unknown,
    /// Topmost first; empty for the bottom layer.
    Known(&'a [PathBuf]),
}

#[derive(Debug)]
pub enum UnpackError {
    /// Only with [`Below::Unknown`].
    NeedsLower,
    Image(ImageError),
}

impl From<ImageError> for UnpackError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl From<UnpackError> for ImageError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::NeedsLower => Self::Malformed("layer archive: needs the layers below".into()),
            UnpackError::Image(error) => error,
        }
    }
}

/// What an entry's handling can end in, before it is tied to the entry's name.
#[derive(Debug)]
enum EntryError {
    NeedsLower,
    Escapes,
    Io(io::Error),
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for EntryError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Unpacks an uncompressed tar stream into `dest`, an empty directory that nobody else writes to,
/// and reads the stream to its very end. Returns the bytes of file content written.
pub fn unpack(mut tar: impl Read, dest: &Path, below: Below<'_>) -> Result<u64, UnpackError> {
    let open = |source| ImageError::Io { doing: format!("open {}", dest.display()), source };
    let mut tree = Tree::open(dest, below).map_err(open)?;
    let malformed = |error: io::Error| ImageError::Io { doing: "read layer archive".into(), source: error };
    let mut written = 0;
    {
        let mut archive = tar::Archive::new(&mut tar);
        let mut copy_buffer = vec![0; 128 << 10];
        for (count, item) in archive.entries().map_err(malformed)?.enumerate() {
            let mut item = item.map_err(malformed)?;
            if count as u64 >= ENTRIES_MAX || written + item.size() > BYTES_MAX {
                return Err(ImageError::Malformed("layer archive is too large".into()).into());
            }
            match entry::apply(&mut tree, &mut item, &mut copy_buffer) {
                Ok(bytes) => written += bytes,
                Err(EntryError::NeedsLower) => return Err(UnpackError::NeedsLower),
                Err(error) => return Err(name_error(error, &item.path_bytes()).into()),
            }
        }
    }
    tree.finish().map_err(|source| ImageError::Io { doing: "set directory times".into(), source })?;
    // Padding after the end marker belongs to the digest.
    io::copy(&mut tar, &mut io::sink()).map_err(malformed)?;
    Ok(written)
}

fn name_error(error: EntryError, path: &[u8]) -> ImageError {
    let path = String::from_utf8_lossy(path);
    match error {
        EntryError::Io(source) => ImageError::Io { doing: format!("unpack {path}"), source },
        EntryError::Escapes | EntryError::NeedsLower => {
            ImageError::Malformed(format!("layer archive: {path} leads out of the image"))
        }
    }
}

#[cfg(test)]
mod tests;
