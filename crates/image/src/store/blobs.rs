//! Content-addressed files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::{Local, Scratch, io_error};
use crate::ImageError;
use crate::digest::{Digest, Hasher};

impl Local {
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    pub fn open_blob(&self, digest: &Digest) -> Result<File, ImageError> {
        File::open(self.blob_path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImageError::NotFound(format!("content {digest}")),
            _ => io_error(format!("open content {digest}"), error),
        })
    }

    /// A small document, at most `limit` bytes.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let read = self.open_blob(digest)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|e| io_error(format!("read content {digest}"), e))?;
        if bytes.len() as u64 > limit {
            return Err(ImageError::Malformed(format!("content {digest} is larger than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Starts a blob; `expected` decides the hash function.
    pub fn blob_writer(&self, expected: Option<&Digest>) -> Result<BlobWriter, ImageError> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("blob");
        let file = File::options().create_new(true).read(true).write(true).open(&path);
        let file = file.map_err(|e| io_error(format!("create {}", path.display()), e))?;
        let hasher = expected.map_or_else(Hasher::sha256, Digest::hasher);
        Ok(BlobWriter { scratch, file, hasher, len: 0 })
    }

    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let mut writer = self.blob_writer(None)?;
        writer.write_all(bytes).map_err(|e| io_error("write content", e))?;
        self.commit_blob(writer, None).map(|(digest, _)| digest)
    }

    /// A manifest or index under the digest it was verified against.
    pub fn put_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), ImageError> {
        let mut writer = self.blob_writer(Some(digest))?;
        writer.write_all(bytes).map_err(|e| io_error("write content", e))?;
        self.commit_blob(writer, Some(digest)).map(drop)
    }

    /// Puts a finished blob in its place, if it is what it should be.
    pub fn commit_blob(&self, writer: BlobWriter, expected: Option<&Digest>) -> Result<(Digest, u64), ImageError> {
        let BlobWriter { scratch, file, hasher, len } = writer;
        let digest = hasher.finish();
        if let Some(expected) = expected {
            expected.verify(&digest)?;
        }
        let path = self.blob_path(&digest);
        if !path.exists() {
            file.sync_data().map_err(|e| io_error(format!("sync content {digest}"), e))?;
            std::fs::rename(scratch.path().join("blob"), &path)
                .map_err(|e| io_error(format!("store content {digest}"), e))?;
        }
        Ok((digest, len))
    }
}

/// A blob on its way in.
pub struct BlobWriter {
    scratch: Scratch,
    file: File,
    hasher: Hasher,
    len: u64,
}

impl BlobWriter {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Starts over: a server that does not know ranges sends all again.
    pub fn restart(&mut self, expected: &Digest) -> io::Result<()> {
        io::Seek::rewind(&mut self.file)?;
        self.file.set_len(0)?;
        self.hasher = expected.hasher();
        self.len = 0;
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.len += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
