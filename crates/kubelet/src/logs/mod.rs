//! Container logs: CRI-format files, read, followed, rotated; and what containers say last.

pub mod format;
pub mod termination_message;
