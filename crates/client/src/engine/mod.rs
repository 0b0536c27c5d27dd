//! The controller engine: carries out what pure decisions say.
//!
//! A [`Controller`] is one value: what it reads ([`Source`]), how a change there maps to the
//! subjects it concerns, what it may write ([`Grant`]), and `decide(subject, view, now) -> Plan`.
//! The engine does all the rest, for every controller alike:
//!
//! - one queue of subjects, each waiting at most once and worked on by at most one decision at a time;
//! - a [`View`] per decision: one immutable snapshot of each cache the controller reads;
//! - writes in the plan's order, each with its preconditions; the first failure ends the plan, the
//!   next decision sees it ([`View::failure`]), and the subject waits, exponentially longer each time;
//! - the **own-writes fence**: a subject is not decided again before every cache it reads has seen
//!   the last write made for it, also when the reply to that write was lost;
//! - panics caught per subject, metrics per queue, a clean end.
//!
//! Decisions are level-triggered and idempotent: a view in which nothing is to be done gives an
//! empty plan, and nothing wakes up until something changes.

mod carry_out;
mod controller;
mod fence;
mod plan;
mod queue;
mod run;
mod source;
mod view;

pub mod lease;

pub use controller::{Controller, Grant, Look};
pub use plan::{Action, Note, Plan, Step, Write};
pub use queue::Queue;
pub use run::{Running, start};
pub use source::Source;
pub use view::{Failure, Key, View};

#[cfg(test)]
mod tests;
