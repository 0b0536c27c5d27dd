//! SPDY/3.1, as much as Kubernetes' streaming needs: both roles, streams with headers, flow control
//! with peers that know it.
//!
//! Go's `moby/spdystream` neither announces nor respects windows. A peer that does announces them
//! with a SETTINGS frame, as this implementation does; with all others a full reader stops the
//! whole connection, as theirs does.

mod connection;
mod frame;
pub mod handshake;
mod headers;
mod state;
mod stream;
mod tasks;

pub use connection::{Connection, Offered, Role};
pub use frame::{Decoder, Error, Frame};
pub use headers::Headers;
pub use stream::{Reset, Stream};
