//! A client inside a machine's network.

use std::fs::File;
use std::os::fd::AsFd as _;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::{Builder, Runtime};

use crate::terminal::note;

/// Threads that are there, and never anywhere else.
pub struct Network {
    /// Until this is dropped.
    threads: Option<Runtime>,
}

impl Network {
    pub fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/ns/net");
        let namespace = File::open(&path).with_context(|| format!("opening {path}"))?;
        // A thread that fails to enter reaches nobody, which shows at once.
        let enter = move || {
            if let Err(error) = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
                let _ = note(&format!("entering {path}: {error}"));
            }
        };
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(enter).build()?;
        Ok(Self { threads: Some(threads) })
    }

    /// What is done from there.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.threads.as_ref().context("the network is closed")?.spawn(work).await?
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Waiting for what is under way is not possible here, nor needed.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
