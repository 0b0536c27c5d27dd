//! A configuration file that may be replaced while the server runs.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells when a file may have changed: written, or put in its place, also by a link further up (as ConfigMaps in
/// pods are).
pub struct WatchedFile {
    path: PathBuf,
    events: AsyncFd<OwnedFd>,
    last: Vec<u8>,
}

const BUFFER_BYTES: usize = 4096;

impl WatchedFile {
    /// `read`: what the file held when it was last read.
    #[expect(
        deprecated,
        reason = "unsound for types that change their descriptor, which OwnedFd does not; the other call is unsafe"
    )]
    pub fn new(path: &Path, read: Vec<u8>) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let events = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&fd, dir, events)?;
        Ok(Self { path: path.to_owned(), events: AsyncFd::with_interest(fd, Interest::READABLE)?, last: read })
    }

    /// What the file holds, once that is something else.
    pub async fn changed(&mut self) -> io::Result<Vec<u8>> {
        loop {
            // Read before waiting: it may have changed before it was watched.
            match tokio::fs::read(&self.path).await {
                Ok(text) if text == self.last => {}
                Ok(text) => {
                    self.last.clone_from(&text);
                    return Ok(text);
                }
                // Between two versions.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.event().await?;
        }
    }

    /// Returns after something happened beside the file.
    async fn event(&self) -> io::Result<()> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let mut ready = self.events.readable().await?;
            match rustix::io::read(self.events.get_ref(), &mut buffer) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_told_once() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("config");
        std::fs::write(&path, "a").expect("written");
        let mut file = WatchedFile::new(&path, b"a".to_vec()).expect("watched");
        std::fs::write(dir.path().join("other"), "x").expect("written");
        std::fs::write(dir.path().join("new"), "b").expect("written");
        std::fs::rename(dir.path().join("new"), &path).expect("renamed");
        assert_eq!(file.changed().await.expect("read"), b"b");
        std::fs::write(&path, "c").expect("written");
        assert_eq!(file.changed().await.expect("read"), b"c");
    }
}
