//! A directory of the machine.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::{Disk, DiskFile};

/// Held locked while the directory is in use.
const LOCK: &str = "lock";

/// The log holds Secrets: nobody else reads it.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    _lock: File,
}

impl RealDisk {
    /// Makes the directory if needed and takes it for this process.
    ///
    /// Errors: `WouldBlock` when another process has it.
    pub fn open(path: &Path) -> io::Result<RealDisk> {
        create_durably(path)?;
        let lock = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(RealDisk { path: path.to_owned(), directory: File::open(path)?, _lock: lock })
    }
}

/// Makes the directory and those above it that are missing.
fn create_durably(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in std::fs::read_dir(&self.path)? {
            names.extend(file?.file_name().into_string().ok().filter(|name| name != LOCK));
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        if let Err(error) = reserve(&file, size) {
            // A full disk must not keep an empty file on top; the first error is the one to tell.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Box::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn blocks(&self) -> bool {
        true
    }
}

/// Space that is there when it is written to, and a size that a flush need not write again.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        // Some filesystems cannot; a file of holes works too, only slower and without the promise.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(size),
        Err(error) => Err(error.into()),
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        if size > self.metadata()?.len() { reserve(self, size) } else { self.set_len(size) }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
