//! One line of a CRI log: `<RFC 3339 nano> <stdout|stderr> <P|F> <text>`.

use jiff::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A parsed line; the text has no newline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub timestamp: &'a str,
    pub stream: Stream,
    /// More of the same line follows.
    pub partial: bool,
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// `None` for what is not a log line.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |b| *b == b' ');
        let timestamp = std::str::from_utf8(parts.next()?).ok()?;
        let stream = match parts.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let tags = parts.next()?;
        let partial = tags.split(|b| *b == b':').next() == Some(b"P");
        Some(Self { timestamp, stream, partial, text: parts.next().unwrap_or_default() })
    }

    pub fn time(&self) -> Option<Timestamp> {
        self.timestamp.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = Line::parse(b"2026-01-02T03:04:05.123456789Z stdout F hello  world\n").unwrap();
        assert_eq!((line.stream, line.partial, line.text), (Stream::Stdout, false, b"hello  world".as_slice()));
        assert!(line.time().is_some());
        let line = Line::parse(b"2026-01-02T03:04:05+01:00 stderr P ").unwrap();
        assert_eq!((line.stream, line.partial, line.text), (Stream::Stderr, true, b"".as_slice()));
        assert!(Line::parse(b"garbage").is_none() && Line::parse(b"").is_none());
    }
}
