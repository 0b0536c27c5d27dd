//! Header blocks: name-value pairs, compressed with one zlib stream per direction that starts from
//! a dictionary both sides know.

use std::sync::LazyLock;

use bytes::{BufMut, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Error;

/// Headers of a stream: lower-case names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.iter().map(|(key, value)| (key.to_ascii_lowercase(), (*value).to_owned())).collect())
    }
}

/// Largest header block, inflated. Ours hold three short pairs; a small block could inflate to a
/// thousand times its size.
const MAX_BLOCK: usize = 64 * 1024;

/// Reads header blocks, in the order of their frames.
#[derive(Debug)]
pub(super) struct Inflater {
    zlib: Decompress,
    block: Vec<u8>,
}

impl Inflater {
    pub fn new() -> Self {
        Self { zlib: Decompress::new(true), block: Vec::new() }
    }

    pub fn read(&mut self, mut input: &[u8]) -> Result<Headers, Error> {
        self.block.clear();
        self.block.reserve(1024);
        while !input.is_empty() || self.block.len() == self.block.capacity() {
            let (seen, made) = (self.zlib.total_in(), self.zlib.total_out());
            match self.zlib.decompress_vec(input, &mut self.block, FlushDecompress::Sync) {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => return Err(Error::HeaderBlock),
                Err(error) => match error.needs_dictionary() {
                    Some(_) => {
                        self.zlib.set_dictionary(&DICTIONARY).map_err(|_| Error::HeaderBlock)?;
                    }
                    None => return Err(Error::HeaderBlock),
                },
            }
            let used = (self.zlib.total_in() - seen) as usize;
            input = &input[used..];
            if self.block.len() > MAX_BLOCK {
                return Err(Error::HeaderBlock);
            }
            if self.block.len() == self.block.capacity() {
                self.block.reserve(self.block.len());
            } else if used == 0 && self.zlib.total_out() == made {
                break;
            }
        }
        if !input.is_empty() {
            return Err(Error::HeaderBlock);
        }
        parse(&self.block)
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, Error> {
    let count = take_length(&mut block)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let name = take_text(&mut block)?.to_ascii_lowercase();
        let value = take_text(&mut block)?;
        pairs.push((name, value));
    }
    if block.is_empty() { Ok(Headers(pairs)) } else { Err(Error::HeaderBlock) }
}

fn take_length(block: &mut &[u8]) -> Result<usize, Error> {
    let (length, rest) = block.split_first_chunk::<4>().ok_or(Error::HeaderBlock)?;
    *block = rest;
    Ok(u32::from_be_bytes(*length) as usize)
}

fn take_text(block: &mut &[u8]) -> Result<String, Error> {
    let length = take_length(block)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Error::HeaderBlock)?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::HeaderBlock)
}

/// Writes header blocks, in the order of their frames.
#[derive(Debug)]
pub(super) struct Deflater {
    zlib: Compress,
    block: BytesMut,
}

impl Deflater {
    pub fn new() -> Self {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&DICTIONARY).expect("a dictionary may be set before any input");
        Self { zlib, block: BytesMut::new() }
    }

    pub fn write(&mut self, headers: &Headers, out: &mut Vec<u8>) {
        self.block.clear();
        self.block.put_u32(headers.0.len() as u32);
        for (name, value) in headers.iter() {
            for text in [name, value] {
                self.block.put_u32(text.len() as u32);
                self.block.put_slice(text.as_bytes());
            }
        }
        let end = self.zlib.total_in() + self.block.len() as u64;
        let start = self.zlib.total_in();
        loop {
            out.reserve(256 + self.block.len());
            let rest = &self.block[(self.zlib.total_in() - start) as usize..];
            self.zlib.compress_vec(rest, out, FlushCompress::Sync).expect("deflating into memory does not fail");
            // A sync flush is whole when output space is left over.
            if self.zlib.total_in() == end && out.len() < out.capacity() {
                return;
            }
        }
    }
}

/// SPDY/3's dictionary (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1): common words with their
/// lengths, then a run of text.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::with_capacity(1423);
    for word in DICTIONARY_WORDS {
        bytes.extend_from_slice(&(word.len() as u32).to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(DICTIONARY_TAIL.as_bytes());
    bytes
});

const DICTIONARY_WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

const DICTIONARY_TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The Adler-32 that every SPDY/3 zlib stream carries as its dictionary id.
    #[test]
    fn the_dictionary_is_the_published_one() {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(b << 16 | a, 0xe3c6_a7c2);
    }

    #[test]
    fn blocks_follow_one_another_in_one_zlib_stream() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        let long = "x".repeat(20_000);
        for pairs in [[("streamtype", "error"), ("port", "80")], [("streamtype", "data"), ("port", long.as_str())]] {
            let headers = Headers::from(pairs);
            let mut wire = Vec::new();
            deflater.write(&headers, &mut wire);
            assert_eq!(inflater.read(&wire), Ok(headers));
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut wire = Vec::new();
        Deflater::new().write(&Headers::from([("a", "0".repeat(MAX_BLOCK).as_str())]), &mut wire);
        assert_eq!(Inflater::new().read(&wire), Err(Error::HeaderBlock));
    }

    proptest! {
        #[test]
        fn any_block_is_total(input in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Inflater::new().read(&input);
            let _ = parse(&input);
            let mut wire = Vec::new();
            let mut deflater = Deflater::new();
            deflater.write(&Headers::default(), &mut wire);
            wire.extend_from_slice(&input);
            let _ = Inflater::new().read(&wire);
        }
    }
}
