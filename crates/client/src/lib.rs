//! Talking to the API: requests in process or over HTTPS, informer caches, the controller engine,
//! leader leases, and the streaming protocols (exec, attach, port-forward).
//!
//! Every component of Orlop meets the others only here. Whether the server is a function in the
//! same process or a machine far away is the [`transport::Transport`]'s secret.

pub mod transport;
