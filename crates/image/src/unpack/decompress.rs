//! Compression is told by the first bytes: media types in the wild are not to be trusted.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames, as seekable formats put first: `0x184D2A5?`, little-endian.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
/// Zstandard's recommended limit of what a decoder must support is 8 MiB; `--ultra` and `--long`
/// images go to 128 MiB.
const ZSTD_WINDOW_MAX: u64 = 128 << 20;
const READ_BUFFER: usize = 64 << 10;

/// The uncompressed bytes of `source`.
pub fn decompress<'a>(mut source: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut head = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut head)?;
    let (gzip, zstd) = (head.starts_with(GZIP_MAGIC), is_zstd(&head));
    let whole = BufReader::with_capacity(READ_BUFFER, Cursor::new(head).chain(source));
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else if zstd {
        Box::new(ZstdFrames { source: Some(whole), frame: None })
    } else {
        Box::new(whole)
    })
}

fn is_zstd(head: &[u8]) -> bool {
    head == ZSTD_MAGIC || (head.len() == 4 && head[0] & 0xf0 == 0x50 && &head[1..] == ZSTD_SKIPPABLE)
}

/// A zstd stream is a sequence of frames; the decoder knows only one at a time.
struct ZstdFrames<R: Read> {
    source: Option<BufReader<R>>,
    frame: Option<StreamingDecoder<BufReader<R>, FrameDecoder>>,
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let n = frame.read(buf)?;
                if n > 0 || buf.is_empty() {
                    return Ok(n);
                }
                self.source = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut source) = self.source.take() else { return Ok(0) };
            if !skip_to_frame(&mut source)? {
                return Ok(0);
            }
            let frame = StreamingDecoder::new_with_max_window_size(source, ZSTD_WINDOW_MAX);
            self.frame = Some(frame.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?);
        }
    }
}

/// Passes over skippable frames; false at the end of the stream.
fn skip_to_frame(source: &mut BufReader<impl Read>) -> io::Result<bool> {
    use io::BufRead;
    loop {
        let mut head = [0; 4];
        let available = source.fill_buf()?;
        if available.is_empty() {
            return Ok(false);
        }
        if available.len() >= 4 {
            head.copy_from_slice(&available[..4]);
        }
        if head[0] & 0xf0 != 0x50 || &head[1..] != ZSTD_SKIPPABLE {
            return Ok(true);
        }
        source.consume(4);
        let mut len = [0; 4];
        source.read_exact(&mut len)?;
        let len = u64::from(u32::from_le_bytes(len));
        io::copy(&mut source.by_ref().take(len), &mut io::sink())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(bytes).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn every_compression_and_concatenation() {
        let gzip = |text: &[u8]| {
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(text).unwrap();
            e.finish().unwrap()
        };
        let zstd = |text: &[u8]| ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
        let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        assert_eq!(all(b""), b"");
        assert_eq!(all(b"abc"), b"abc");
        assert_eq!(all(b"plain text"), b"plain text");
        assert_eq!(all(&[gzip(b"one "), gzip(b"two")].concat()), b"one two");
        assert_eq!(all(&[zstd(b"one "), skippable.clone(), zstd(b"two"), skippable].concat()), b"one two");
    }
}
