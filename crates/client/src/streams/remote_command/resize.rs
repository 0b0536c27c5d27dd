//! Terminal sizes: JSON objects one after another on their own stream.

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::streams::Reader;

/// Columns and rows; the field names are Go's, without JSON tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TerminalSize {
    #[serde(rename = "Width", alias = "width")]
    pub width: u16,
    #[serde(rename = "Height", alias = "height")]
    pub height: u16,
}

/// The sizes a client sends, as they come.
#[derive(Debug)]
pub struct Resizes {
    reader: Reader,
    buffer: Vec<u8>,
}

/// Longest text that may precede the end of an object; two numbers need some thirty bytes.
const MAX_PENDING: usize = 1024;

impl Resizes {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, buffer: Vec::new() }
    }

    /// The next size; `None` when the client sends no more, or something else.
    pub async fn next(&mut self) -> Option<TerminalSize> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<TerminalSize>();
            match values.next() {
                Some(Ok(size)) => {
                    let used = values.byte_offset();
                    self.buffer.drain(..used);
                    return Some(size);
                }
                Some(Err(error)) if !error.is_eof() => return None,
                _ if self.buffer.len() > MAX_PENDING => return None,
                _ => {}
            }
            if self.reader.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::pipe::pipe;

    #[tokio::test]
    async fn sizes_may_come_in_pieces() {
        let (feed, reader) = pipe();
        let mut sizes = Resizes::new(reader);
        for piece in [r#"{"Width":80,"#, "\"Height\":24}\n{\"Width\"", ":100,\"Height\":50}\n", "nonsense"] {
            feed.send(piece.into()).await;
        }
        assert_eq!(sizes.next().await, Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(sizes.next().await, Some(TerminalSize { width: 100, height: 50 }));
        assert_eq!(sizes.next().await, None);
    }
}
