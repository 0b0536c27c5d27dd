//! A disk in memory that loses what was not flushed when it crashes.
//!
//! Like a real one it may have written some of that already: any subset of the touched sectors and of
//! the directory's changes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

/// What goes wrong from now on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Flushes fail.
    pub flush: bool,
    /// Reserved bytes the disk has room for; unlimited when `None`.
    pub capacity: Option<u64>,
    /// How long a flush takes.
    pub flush_delay: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// Since the directory was flushed.
    unsynced_names: Vec<NameChange>,
    faults: Faults,
    crashed: bool,
    flushes: u64,
    written: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Remove(String),
}

/// Bytes beyond `data` and below `size` are zeros.
#[derive(Clone, Debug, Default)]
struct Content {
    data: Vec<u8>,
    size: usize,
    synced: Vec<u8>,
    synced_size: usize,
    dirty: Vec<Range<usize>>,
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Pulls the plug: every further call on this disk fails. What survives is on the answer's disk.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut inner = self.lock();
        inner.crashed = true;
        let mut names = inner.synced_names.clone();
        inner.unsynced_names.iter().filter(|_| rng.bool()).for_each(|change| change.apply(&mut names));
        let files: Vec<Content> = inner.files.iter().map(|file| file.survivor(&mut rng)).collect();
        let after = Inner { files, names: names.clone(), synced_names: names, ..Inner::default() };
        SimDisk { inner: Arc::new(Mutex::new(after)) }
    }

    /// Bytes of a file as they are read back now.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        let file = &inner.files[*inner.names.get(name)?];
        let mut bytes = file.data.clone();
        bytes.resize(file.size, 0);
        Some(bytes)
    }

    /// Replaces or makes a file, durably: for damage of a kind that crashes do not do.
    pub fn plant(&self, name: &str, bytes: Vec<u8>) {
        let mut inner = self.lock();
        let size = bytes.len();
        inner.files.push(Content { data: bytes.clone(), size, synced: bytes, synced_size: size, dirty: vec![] });
        let file = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), file);
        inner.synced_names.insert(name.to_owned(), file);
    }

    /// A disk of its own with what is readable on this one now.
    pub fn fork(&self) -> SimDisk {
        let inner = self.lock();
        let fork = SimDisk::new();
        for name in inner.names.keys() {
            let file = &inner.files[inner.names[name]];
            let mut bytes = file.data.clone();
            bytes.resize(file.size, 0);
            fork.plant(name, bytes);
        }
        fork
    }

    /// Reserved bytes over all files.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Flushes of files so far.
    pub fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.lock();
        if inner.crashed { Err(io::Error::other("the simulated disk has crashed")) } else { Ok(inner) }
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|&file| self.files[file].size as u64).sum()
    }

    fn make_room(&self, more: u64) -> io::Result<()> {
        match self.faults.capacity {
            Some(capacity) if self.used() + more > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create(name, file) => drop(names.insert(name.clone(), *file)),
            NameChange::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Content {
    fn survivor(&self, rng: &mut fastrand::Rng) -> Content {
        let size = if rng.bool() { self.size } else { self.synced_size };
        let mut data = self.synced.clone();
        data.resize(size, 0);
        for range in &self.dirty {
            for sector in range.start / SECTOR..range.end.div_ceil(SECTOR) {
                let within = (sector * SECTOR).max(range.start)..((sector + 1) * SECTOR).min(range.end).min(size);
                if !within.is_empty() && rng.bool() {
                    data[within.clone()].copy_from_slice(&self.data[within]);
                }
            }
        }
        Content { data: data.clone(), size, synced: data, synced_size: size, dirty: vec![] }
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.alive()?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        match self.alive()?.names.get(name) {
            Some(&file) => Ok(Box::new(SimFile { disk: self.clone(), file })),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.alive()?;
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.make_room(size)?;
        inner.files.push(Content { size: size as usize, ..Content::default() });
        let file = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), file);
        inner.unsynced_names.push(NameChange::Create(name.to_owned(), file));
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.alive()?;
        inner.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.unsynced_names.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.alive()?;
        inner.synced_names = inner.names.clone();
        inner.unsynced_names.clear();
        let named: Vec<usize> = inner.names.values().copied().collect();
        let gone = inner.files.iter_mut().enumerate().filter(|(file, _)| !named.contains(file));
        gone.for_each(|(_, content)| *content = Content::default());
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }

    fn flush_delay(&self) -> Duration {
        self.lock().faults.flush_delay
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.files[self.file].size as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let inner = self.disk.alive()?;
        let file = &inner.files[self.file];
        let offset = offset as usize;
        let length = buffer.len().min(file.size.saturating_sub(offset));
        let written = length.min(file.data.len().saturating_sub(offset));
        if written > 0 {
            buffer[..written].copy_from_slice(&file.data[offset..offset + written]);
        }
        buffer[written..length].fill(0);
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.alive()?;
        let range = offset as usize..offset as usize + bytes.len();
        inner.make_room((range.end as u64).saturating_sub(inner.files[self.file].size as u64))?;
        inner.written += bytes.len() as u64;
        let file = &mut inner.files[self.file];
        if file.data.len() < range.end {
            file.data.resize(range.end, 0);
        }
        file.size = file.size.max(range.end);
        file.data[range.clone()].copy_from_slice(bytes);
        file.dirty.push(range);
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let mut inner = self.disk.alive()?;
        inner.make_room(size.saturating_sub(inner.files[self.file].size as u64))?;
        let file = &mut inner.files[self.file];
        file.size = size as usize;
        file.data.truncate(file.size);
        file.dirty.iter_mut().for_each(|range| range.end = range.end.min(size as usize));
        file.dirty.retain(|range| range.start < range.end);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.alive()?;
        if inner.faults.flush {
            return Err(io::Error::other("the simulated disk fails flushes"));
        }
        inner.flushes += 1;
        let file = &mut inner.files[self.file];
        // What was cut off must not come back when the file grows again.
        file.synced.truncate(file.data.len());
        for range in std::mem::take(&mut file.dirty) {
            if file.synced.len() < range.end {
                file.synced.resize(range.end, 0);
            }
            file.synced[range.clone()].copy_from_slice(&file.data[range]);
        }
        file.synced_size = file.size;
        Ok(())
    }
}
