//! `--encryption-provider-config-automatic-reload`: the file is read again when it changes.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use super::Encryption;
use crate::review::metrics::ENCRYPTION;

/// What is told of one change fits many times.
const EVENT_BYTES: usize = 4096;

impl Encryption {
    /// Follows the file for as long as it is polled. Its directory is watched: editors and mounted Secrets put another
    /// file in its place.
    pub async fn follow(self: &Arc<Self>) -> io::Result<()> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, dir, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
        // Unchecked: it is no pipe, but is read like one.
        let mut changes = Receiver::from_owned_fd_unchecked(fd)?;
        let mut events = [0; EVENT_BYTES];
        loop {
            if changes.read(&mut events).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Plugins may have to be asked.
            let encryption = self.clone();
            let reloaded = tokio::task::spawn_blocking(move || encryption.reload()).await;
            match reloaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                Ok(true) => tracing::info!(path = %self.path.display(), "encryption configuration reloaded"),
                Ok(false) => {}
                Err(error) => {
                    ENCRYPTION.failed();
                    tracing::error!(%error, "the encryption configuration stays as it was");
                }
            }
        }
    }
}
