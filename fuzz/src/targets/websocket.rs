//! WebSocket frames, in pieces of any size.

use orlop_client::streams::websocket::{Decoder, Role};

use crate::Target;

pub const TARGET: Target = Target {
    name: "websocket",
    corpus: None,
    seeds: &[
        b"\x03\x82\x85\x01\x02\x03\x04\x01hell\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",
        b"\xff\x02\x7e\0\x80ab\x80\x01c\x81\x7f\0\0\0\0\0\0\0\x01x",
    ],
    run,
};

/// The first byte says how long the pieces are.
fn run(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    for role in [Role::Client, Role::Server] {
        let mut decoder = Decoder::new(role);
        'connection: for piece in bytes.chunks(usize::from(*size).max(1)) {
            decoder.buffer().extend_from_slice(piece);
            loop {
                match decoder.next_event() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'connection,
                }
            }
            assert!(decoder.buffer().len() <= bytes.len());
        }
    }
}
