//! One pod on this node: what it should be ([`spec`]), what it is ([`view`]), what to do about the
//! difference ([`plan`]), and who does it ([`worker`]).

pub mod backoff;
pub mod init;
pub mod kill;
pub mod plan;
pub mod resize;
pub mod spec;
pub mod view;

#[cfg(test)]
mod plan_tests;
