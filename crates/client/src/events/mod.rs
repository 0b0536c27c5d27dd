//! Recording Events (core/v1): what a component did to an object and why, for people to read.
//!
//! [`Recorder::event`] never blocks and never fails. Behind it a [`correlator`] merges repeats
//! into counts, folds many similar events into one and drops spam, as client-go's
//! `tools/record` does; then one task per recorder writes.

mod correlator;
mod lru;
mod recorder;

pub use recorder::{EventType, Recorder, reference};

#[cfg(test)]
mod tests;
