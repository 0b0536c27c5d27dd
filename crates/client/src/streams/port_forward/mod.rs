//! Port-forward: many connections to ports of a pod over one upgraded connection.
//!
//! Over SPDY (bare or tunnelled in WebSocket messages, KEP-4006) each forwarded connection is a
//! pair of streams, data and error, with the same `requestID`. Over the older WebSocket channels
//! the ports are fixed by the query and each has one pair.

mod client;
mod server;

pub use client::{Forwarded, Forwarder, connect};
pub use server::{Accepted, Forward, Forwards, InvalidPorts, accept, ports_from_query};

/// The stream protocol over SPDY.
const PROTOCOL: &str = "portforward.k8s.io";
/// The WebSocket sub-protocol that tunnels SPDY.
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// Names and values of SPDY stream headers (`k8s.io/api/core/v1`).
mod header {
    pub const STREAM_TYPE: &str = "streamtype";
    pub const PORT: &str = "port";
    pub const REQUEST_ID: &str = "requestid";
    pub const DATA: &str = "data";
    pub const ERROR: &str = "error";
}
