//! Changes of log directories: one inotify instance for all followers, since a user has few
//! (`fs.inotify.max_user_instances` is 128 by default).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::fd_io::FdReader;

/// Followers by watch descriptor; the numbers count changes.
type Followers = Arc<Mutex<BTreeMap<i32, watch::Sender<u64>>>>;

pub struct DirWatcher {
    fd: OwnedFd,
    followers: Followers,
    _reader: AbortOnDropHandle<()>,
}

/// Told of changes in one directory.
pub struct DirChanges {
    receiver: watch::Receiver<u64>,
    descriptor: i32,
    fd: OwnedFd,
    followers: Followers,
}

/// The kernel's event header: descriptor, mask, cookie, length of the name that follows.
const HEADER_BYTES: usize = 16;

impl DirWatcher {
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let followers = Followers::default();
        let reader = orlop_base::task::spawn(dispatch(FdReader::new(fd.try_clone()?)?, followers.clone()));
        Ok(Self { fd, followers, _reader: AbortOnDropHandle::new(reader) })
    }

    /// Changes from now on. Watching the same directory twice costs nothing.
    pub fn watch(&self, dir: &Path) -> io::Result<DirChanges> {
        let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let descriptor = inotify::add_watch(&self.fd, dir, events)?;
        let receiver = followers.entry(descriptor).or_insert_with(|| watch::Sender::new(0)).subscribe();
        drop(followers);
        Ok(DirChanges { receiver, descriptor, fd: self.fd.try_clone()?, followers: self.followers.clone() })
    }
}

impl DirChanges {
    /// Returns once something has changed since the last call.
    pub async fn next(&mut self) {
        // The sender lives in the table as long as this does.
        let _ = self.receiver.changed().await;
    }
}

impl Drop for DirChanges {
    fn drop(&mut self) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if followers.get(&self.descriptor).is_some_and(|sender| sender.receiver_count() <= 1) {
            followers.remove(&self.descriptor);
            // The directory may be gone, and its watch with it.
            let _ = inotify::remove_watch(&self.fd, self.descriptor);
        }
    }
}

async fn dispatch(mut reader: FdReader, followers: Followers) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = reader.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let followers = followers.lock().unwrap_or_else(PoisonError::into_inner);
        for descriptor in descriptors(&buffer[..count]) {
            if let Some(sender) = followers.get(&descriptor) {
                sender.send_modify(|changes| *changes += 1);
            }
        }
    }
}

fn descriptors(mut events: &[u8]) -> Vec<i32> {
    let mut found = Vec::new();
    while events.len() >= HEADER_BYTES {
        let word = |at: usize| [events[at], events[at + 1], events[at + 2], events[at + 3]];
        found.push(i32::from_ne_bytes(word(0)));
        let name = u32::from_ne_bytes(word(12)) as usize;
        events = events.get(HEADER_BYTES + name..).unwrap_or_default();
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[tokio::test]
    async fn each_directory_has_its_followers() {
        let (one, two) = (temp_dir(), temp_dir());
        let watcher = DirWatcher::new().unwrap();
        let mut first = watcher.watch(one.path()).unwrap();
        let mut second = watcher.watch(one.path()).unwrap();
        let other = watcher.watch(two.path()).unwrap();
        std::fs::write(one.path().join("0.log"), "x").unwrap();
        first.next().await;
        second.next().await;
        assert!(!other.receiver.has_changed().unwrap());
        drop((first, second, other));
        assert!(watcher.followers.lock().unwrap().is_empty());
    }
}
