//! Tasks that share their machinery: tokio compiles its own anew for every future it is given, and so is given boxes.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinHandle;

/// A future whose type is forgotten, for `TaskTracker::spawn` and the like.
pub fn boxed<T>(future: impl Future<Output = T> + Send + 'static) -> Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(future)
}

/// [`tokio::spawn`] of a [`boxed`] future.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(boxed(future))
}
