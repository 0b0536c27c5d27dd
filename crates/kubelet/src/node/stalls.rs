//! Pressure stall information: the kernel tells when tasks wait for memory
//! (`Documentation/accounting/psi.rst`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// 150 ms of waiting in 2 s, the shortest window that needs no `CAP_SYS_RESOURCE`.
const TRIGGER: &[u8] = b"some 150000 2000000\0";

pub struct MemoryStalls(AsyncFd<File>);

impl MemoryStalls {
    #[expect(
        deprecated,
        reason = "unsound for types that change their descriptor, which File does not; the other call is unsafe"
    )]
    pub fn open() -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open("/proc/pressure/memory")?;
        file.write_all(TRIGGER)?;
        Ok(Self(AsyncFd::with_interest(file, Interest::PRIORITY)?))
    }

    /// Waits for the next stall; at most one is told per window.
    pub async fn next(&mut self) {
        match self.0.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        }
    }
}
