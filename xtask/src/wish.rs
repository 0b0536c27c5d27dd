//! The wish that this program end: Ctrl-C, or SIGTERM of whoever started it.

use anyhow::{Context, Error, Result, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Heard of from the moment this is made on; the program ends no more by itself then.
pub struct Wish {
    interrupt: Signal,
    terminate: Signal,
}

impl Wish {
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Returns when it came, with what to say of it.
    pub async fn came(mut self) -> Error {
        tokio::select! {
            _ = self.interrupt.recv() => anyhow!("interrupted"),
            _ = self.terminate.recv() => anyhow!("terminated"),
        }
    }
}
