//! Talking to the API: requests in process or over HTTPS, informer caches, the controller engine,
//! leader leases, and the streaming protocols (exec, attach, port-forward).
//!
//! Every component of Orlop meets the others only here. Whether the server is a function in the
//! same process or a machine far away is the [`transport::Transport`]'s secret.

pub mod config;
pub mod https;
pub mod streams;
pub mod transport;

pub mod error;
pub mod object;
pub mod params;

pub mod api;
pub mod client;
pub mod discovery;
mod json;
pub mod watch;

pub mod cache;
pub mod engine;
pub mod events;
pub mod metrics;
pub mod services;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use api::{Api, List};
pub use client::Client;
pub use error::{Error, Result};
pub use object::{Dynamic, Object, Resource};
pub use params::{DeleteOptions, ListOptions, Patch, Propagation, WatchOptions, WriteOptions};
pub use watch::{Watch, WatchEvent};
