//! The little that a log asks of a disk, so that a simulation can crash it.
//!
//! One flat directory of files. Calls block; the simulated disk's return at once.

mod real;
mod sim;

use std::fmt::Debug;
use std::io;
use std::time::Duration;

pub use real::RealDisk;
pub use sim::{Faults, SimDisk};

pub trait Disk: Debug + Send + Sync {
    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// A new file with `size` bytes of reserved space that read as zeros.
    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether calls may block, so that the log needs a thread of its own.
    fn blocks(&self) -> bool;

    /// Virtual time that each flush takes.
    fn flush_delay(&self) -> Duration {
        Duration::ZERO
    }
}

pub trait DiskFile: Send {
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` as far as the file goes; answers how much that was.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off, or reserves space that reads as zeros.
    fn resize(&self, size: u64) -> io::Result<()>;

    /// Makes content and size durable.
    fn sync(&self) -> io::Result<()>;
}
