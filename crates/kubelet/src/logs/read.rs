//! Reading a log as its reader wants it: from where, how much, with times or without, and on as it
//! grows, across rotations.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use super::format::Line;
use super::options::LogOptions;

const CHUNK_BYTES: usize = 64 << 10;
/// A longer line is not one of a container runtime: they split at 16 KiB.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One reader of one container's log.
pub struct LogReader {
    path: PathBuf,
    file: File,
    options: LogOptions,
    /// Read and not yet a whole line.
    pending: BytesMut,
    /// The last text given ended its line: the next begins one.
    at_line_start: bool,
    left_bytes: Option<u64>,
    /// Who does not follow gets no more lines than asked for, though new ones come while these are read.
    left_lines: Option<u64>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Bytes),
    /// All there is for now.
    End,
    /// The limit is reached.
    Full,
}

impl LogReader {
    pub async fn open(path: &Path, options: LogOptions) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        if let Some(lines) = options.tail_lines {
            let start = tail_start(&mut file, lines).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        let left_bytes = options.limit_bytes;
        let left_lines = options.tail_lines.filter(|_| !options.follow);
        let path = path.to_path_buf();
        Ok(Self { path, file, options, pending: BytesMut::new(), at_line_start: true, left_bytes, left_lines })
    }

    /// The next lines. After a rotation it goes on in the new file, when the old one is read.
    pub async fn next(&mut self) -> io::Result<Piece> {
        loop {
            if self.is_full() {
                return Ok(Piece::Full);
            }
            let text = self.take_lines();
            if !text.is_empty() {
                return Ok(Piece::Text(text));
            }
            self.pending.reserve(CHUNK_BYTES);
            if self.file.read_buf(&mut self.pending).await? > 0 {
                continue;
            }
            if !self.reopen_if_rotated().await? {
                return Ok(Piece::End);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.left_bytes == Some(0) || self.left_lines == Some(0)
    }

    async fn reopen_if_rotated(&mut self) -> io::Result<bool> {
        let current = self.file.metadata().await?;
        let named = match tokio::fs::metadata(&self.path).await {
            Ok(metadata) => metadata,
            // Between a rotation's rename and the runtime's reopening.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if (named.dev(), named.ino()) == (current.dev(), current.ino()) {
            return Ok(false);
        }
        self.file = File::open(&self.path).await?;
        self.pending.clear();
        Ok(true)
    }

    /// Formats the whole lines that wait.
    fn take_lines(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        while let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
            let line = self.pending.split_to(end + 1);
            self.put(&line, &mut out);
            if self.is_full() {
                break;
            }
        }
        if self.pending.len() > MAX_LINE_BYTES {
            self.pending.clear();
        }
        out.freeze()
    }

    fn put(&mut self, raw: &[u8], out: &mut BytesMut) {
        let Some(line) = Line::parse(raw) else { return };
        self.left_lines = self.left_lines.map(|left| left.saturating_sub(1));
        if let Some(since) = self.options.since
            && line.time().is_none_or(|time| time < since)
        {
            return;
        }
        let mut text = BytesMut::with_capacity(raw.len());
        if self.options.timestamps && self.at_line_start {
            text.extend_from_slice(fixed(&line).as_bytes());
            text.extend_from_slice(b" ");
        }
        text.extend_from_slice(line.text);
        if !line.partial {
            text.extend_from_slice(b"\n");
        }
        self.at_line_start = !line.partial;
        if let Some(left) = &mut self.left_bytes {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        out.extend_from_slice(&text);
    }
}

/// The line's time with nine digits of fraction, always.
fn fixed(line: &Line<'_>) -> String {
    line.time().map_or_else(|| line.timestamp.to_owned(), |time: Timestamp| format!("{time:.9}"))
}

/// Where the last `lines` lines begin.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.metadata().await?.len();
    let mut position = end;
    let mut found = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    while position > 0 {
        let size = (CHUNK_BYTES as u64).min(position);
        position -= size;
        let chunk = &mut buffer[..size as usize];
        file.seek(SeekFrom::Start(position)).await?;
        file.read_exact(chunk).await?;
        for (at, _) in chunk.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let after = position + at as u64 + 1;
            // The newline at the very end closes the last line, it begins none.
            if after < end {
                found += 1;
            }
            if found >= lines && (after < end || lines == 0) {
                return Ok(if lines == 0 { end } else { after });
            }
        }
    }
    Ok(if lines == 0 { end } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02.5Z stderr P two-\n\
                       2026-01-01T00:00:03Z stderr F two\nnot a log line\n2026-01-01T00:00:04Z stdout F three\n";

    async fn read(options: LogOptions) -> String {
        let dir = temp_dir();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let mut reader = LogReader::open(&path, options).await.unwrap();
        all(&mut reader).await
    }

    async fn all(reader: &mut LogReader) -> String {
        let mut out = String::new();
        while let Piece::Text(text) = reader.next().await.unwrap() {
            out.push_str(std::str::from_utf8(&text).unwrap());
        }
        out
    }

    #[tokio::test]
    async fn what_is_asked_for() {
        let options = LogOptions::default;
        assert_eq!(read(options()).await, "one\ntwo-two\nthree\n");
        assert_eq!(read(LogOptions { tail_lines: Some(1), ..options() }).await, "three\n");
        assert_eq!(read(LogOptions { tail_lines: Some(0), ..options() }).await, "");
        assert_eq!(read(LogOptions { tail_lines: Some(99), ..options() }).await, "one\ntwo-two\nthree\n");
        assert_eq!(read(LogOptions { limit_bytes: Some(6), ..options() }).await, "one\ntw");
        let since = Some("2026-01-01T00:00:04Z".parse().unwrap());
        assert_eq!(read(LogOptions { since, ..options() }).await, "three\n");
        let stamped = read(LogOptions { timestamps: true, ..options() }).await;
        let expected = "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:02.500000000Z two-two\n2026-01-01T00:00:04.000000000Z three\n";
        assert_eq!(stamped, expected);
    }

    #[tokio::test]
    async fn lines_that_come_while_the_last_are_read_are_not_of_the_last() {
        use std::io::Write;
        let dir = temp_dir();
        let path = dir.path().join("0.log");
        for (follow, expected) in [(false, "three\n"), (true, "three\nfour\n")] {
            std::fs::write(&path, LOG).unwrap();
            let options = LogOptions { tail_lines: Some(1), follow, ..LogOptions::default() };
            let mut reader = LogReader::open(&path, options).await.unwrap();
            let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            log.write_all(b"2026-01-01T00:00:05Z stdout F four\n").unwrap();
            assert_eq!(all(&mut reader).await, expected);
        }
    }

    #[tokio::test]
    async fn on_across_a_rotation() {
        use std::io::Write;
        let dir = temp_dir();
        let path = dir.path().join("0.log");
        let mut first = File::create(&path).await.unwrap().into_std().await;
        let mut reader = LogReader::open(&path, LogOptions::default()).await.unwrap();
        assert_eq!(all(&mut reader).await, "");
        first.write_all(b"2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout").unwrap();
        assert_eq!(all(&mut reader).await, "one\n");
        first.write_all(b" F two\n").unwrap();
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        assert_eq!(all(&mut reader).await, "two\n");
        std::fs::write(&path, "2026-01-01T00:00:03Z stdout F three\n").unwrap();
        assert_eq!(all(&mut reader).await, "three\n");
    }
}
