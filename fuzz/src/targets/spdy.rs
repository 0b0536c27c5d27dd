//! SPDY/3.1 frames, compressed headers among them, in pieces of any size.

use orlop_client::streams::spdy::Decoder;

use crate::Target;

pub const TARGET: Target = Target {
    name: "spdy",
    corpus: None, seeds: &[
        b"\x05\x80\x03\0\x06\0\0\0\x04\0\0\0\x01\0\0\0\x01\0\0\0\x03abc\x80\x03\0\x04\0\0\0\x0c\0\0\0\x01\0\0\0\x04\0\0\x10\0",
        b"\xff\x80\x03\0\x01\x01\0\0\x10\0\0\0\x01\0\0\0\0\0\0\x78\xbb\xe3\xc6\xa7\xc2",
    ],
    run,
};

/// The first byte says how long the pieces are.
fn run(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.buffer().len() <= bytes.len());
    }
}
