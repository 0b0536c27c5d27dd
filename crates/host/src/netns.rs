//! Doing something inside another network namespace.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::thread::LinkNameSpaceType;

/// Runs `work` on a thread of its own that has entered the namespace at `path`, and ends that
/// thread: no other thread of the process ever changes namespace.
pub fn within<T: Send + 'static>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let namespace = File::open(path)?;
    std::thread::Builder::new()
        .name("netns".into())
        .spawn(move || {
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                Some(LinkNameSpaceType::Network),
            )?;
            work()
        })?
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
}
