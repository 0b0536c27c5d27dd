//! One pod on this node: what it should be ([`spec`]), what it is ([`view`]), what to do about the
//! difference ([`plan`]), and who does it ([`worker`]).

pub mod backoff;
pub mod hooks;
pub mod init;
pub mod kill;
pub mod ops;
pub mod plan;
pub mod resize;
pub mod spec;
pub mod view;
pub mod worker;

#[cfg(test)]
mod plan_tests;
