//! `orlop kubectl`: the verbs that a machine without kubectl needs, in kubectl's words.
//!
//! One file per verb under [`verbs`]: its arguments, its `run`, its help. Only [`print`] prints.

mod manifest;
mod output;
mod print;
mod resources;
mod session;
mod verbs;

pub use verbs::{Kubectl, run};
