//! The same containers, run by crun (Debian's package `crun`).

#![cfg(test)]

mod support;

#[path = "cases/containers.rs"]
mod containers;
#[path = "cases/lifecycle.rs"]
mod lifecycle;
#[path = "cases/upheaval.rs"]
mod upheaval;
