//! The embedded runtime.

#![cfg(test)]

mod support;

#[path = "cases/containers.rs"]
mod containers;
#[path = "cases/lifecycle.rs"]
mod lifecycle;
#[path = "cases/propagation.rs"]
mod propagation;
#[path = "cases/upheaval.rs"]
mod upheaval;
#[path = "cases/users.rs"]
mod users;
