//! WebSocket (RFC 6455), as much as Kubernetes uses: no extensions, both roles.

mod byte_stream;
mod connection;
mod frame;
mod handshake;

pub use byte_stream::ByteStream;
pub use connection::{Chunk, Incoming, Message, Outgoing, start};
pub use frame::{Decoder, Error, Event, Role};
pub use handshake::{Offer, accept, check_response, request_headers};
