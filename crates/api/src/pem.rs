//! PEM, as far as rules about certificates need it (RFC 7468): blocks, their labels and bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One `-----BEGIN label-----` with its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    pub label: &'a str,
    /// Lines of the form `Key: value` stand before the bytes.
    pub has_headers: bool,
    pub bytes: Vec<u8>,
}

/// The blocks of a text, in order. What stands around them and what is no whole block is passed over, as Go does.
pub fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once("-----BEGIN ")?;
            rest = after;
            let Some((label, body)) = after.split_once("-----") else { continue };
            let Some((body, tail)) = body.split_once(&format!("-----END {label}-----")) else { continue };
            let has_headers = body.lines().any(|line| line.contains(':'));
            let data: String = body.lines().filter(|line| !line.contains(':')).map(str::trim).collect();
            if let Ok(bytes) = STANDARD.decode(data) {
                rest = tail;
                return Some(Block { label, has_headers, bytes });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "x\n-----BEGIN A B-----\nYWI=\n-----END A B-----\n-----BEGIN C-----\n!\n-----END C-----\n\
                    -----BEGIN D-----\nK: v\n\nYg==\n-----END D-----\n";
        let found: Vec<Block<'_>> = blocks(text).collect();
        assert_eq!(
            found,
            [
                Block { label: "A B", has_headers: false, bytes: b"ab".to_vec() },
                Block { label: "D", has_headers: true, bytes: b"b".to_vec() }
            ]
        );
        assert_eq!(blocks("-----BEGIN A-----\nYWI=").count(), 0);
    }
}
