//! Container logs: CRI-format files, read, followed, rotated; and what containers say last.

pub mod format;
pub mod options;
pub mod read;
pub mod rotate;
pub mod termination_message;
pub mod watch;
