//! Content digests: the names of blobs, and readers and writers that compute them on the way.

use std::fmt;
use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256, SHA512};

use crate::ImageError;

/// `sha256:<64 hex>` or `sha512:<128 hex>`, checked; safe to use as a file name's part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once(':')?;
        let len = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return None,
        };
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (hex.len() == len && hex.bytes().all(lower_hex)).then(|| Self(text.to_owned()))
    }

    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// A hasher that can be compared with this digest.
    pub fn hasher(&self) -> Hasher {
        if self.algorithm() == "sha512" { Hasher(Context::new(&SHA512)) } else { Hasher::sha256() }
    }

    /// `Ok` when `got` is this digest.
    pub fn verify(&self, got: &Digest) -> Result<(), ImageError> {
        if self == got {
            return Ok(());
        }
        Err(ImageError::Digest { want: self.to_string(), got: got.to_string() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("\"{text}\" is not a digest"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    pub fn sha256() -> Self {
        Self(Context::new(&SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Digest {
        let algorithm = if self.0.algorithm() == &SHA512 { "sha512" } else { "sha256" };
        let sum = self.0.finish();
        let mut text = format!("{algorithm}:");
        for byte in sum.as_ref() {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Digest(text)
    }
}

/// Hashes what passes through, in either direction.
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    len: u64,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        Self::with(inner, Hasher::sha256())
    }

    pub fn with(inner: T, hasher: Hasher) -> Self {
        Self { inner, hasher, len: 0 }
    }

    /// The inner value, digest and number of the bytes that passed.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.len)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count(&buf[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.count(&buf[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_checked_and_computed() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        let bad = ["", "sha256:", "sha256:../../etc", "md5:00", &empty.to_uppercase(), &empty[..70]];
        assert!(bad.iter().all(|text| Digest::parse(text).is_none()));
        let mut pass = Hashing::new(&b"abc"[..]);
        io::copy(&mut pass, &mut io::sink()).unwrap();
        let (_, digest, len) = pass.finish();
        assert_eq!((digest, len), (Digest::of(b"abc"), 3));
    }
}
