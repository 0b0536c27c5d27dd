//! The thread that talks to plugins. Objects are read where nothing may be awaited: the log is read on a thread of its
//! own, etcd's watch applies events one after the other. They wait here for a plugin's answer.

use std::io;
use std::sync::mpsc::sync_channel;

use orlop_base::task::boxed;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

/// Ends, with everything it does, when dropped.
pub struct Worker {
    runtime: Handle,
    stop: CancellationToken,
}

impl Worker {
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        std::thread::Builder::new().name("kms".into()).spawn(move || runtime.block_on(stopped.cancelled()))?;
        Ok(Self { runtime: handle, stop })
    }

    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(boxed(work));
    }

    /// Blocks for the result; `None` when the thread is gone. `work` bounds its own time.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (done, result) = sync_channel(1);
        self.runtime.spawn(boxed(async move { drop(done.send(work.await)) }));
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            // Others go on meanwhile.
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| result.recv().ok()),
            _ => result.recv().ok(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
