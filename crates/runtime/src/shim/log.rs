//! Container output in the CRI log format: `<time> <stream> <F or P> <text>`, one line each
//! (k8s.io/cri-api, `ContainerConfig.log_path`; the cutting follows containerd's logger).

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Longest text of one record; what is longer is cut into partial records
/// (containerd's `max_container_log_line_size`).
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// Records are collected to this much before they are written.
const WRITE_BYTES: usize = 32 << 10;

/// A log file that outlives rotation and full disks.
pub struct Log {
    path: CString,
    file: Option<OwnedFd>,
    out: Vec<u8>,
    /// Bytes that could not be written.
    pub lost_bytes: u64,
}

/// One of a container's streams on its way into the log.
pub struct LogStream {
    name: &'static [u8],
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
}

impl LogStream {
    pub fn new(name: &'static str) -> Self {
        Self { name: name.as_bytes(), partial: Vec::new() }
    }
}

impl Log {
    pub fn open(path: CString) -> io::Result<Self> {
        let mut log = Self { path, file: None, out: Vec::new(), lost_bytes: 0 };
        log.reopen()?;
        Ok(log)
    }

    /// Follows the path anew: the old file was renamed. Keeps the old file if that fails.
    pub fn reopen(&mut self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        self.file = Some(rustix::fs::openat(CWD, &self.path, flags, Mode::from_raw_mode(0o640))?);
        Ok(())
    }

    /// Takes output as it came.
    pub fn feed(&mut self, stream: &mut LogStream, bytes: &[u8]) {
        let time = Time::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            let line_end = rest.iter().position(|b| *b == b'\n');
            let (mut piece, full) = match line_end {
                Some(at) => (&rest[..at], true),
                None => (rest, false),
            };
            rest = line_end.map_or(&[][..], |at| &rest[at + 1..]);
            while stream.partial.len() + piece.len() > LINE_BYTES_MAX {
                let (head, tail) = piece.split_at(LINE_BYTES_MAX - stream.partial.len());
                self.record(&time, stream, b'P', head);
                piece = tail;
            }
            if full {
                self.record(&time, stream, b'F', piece);
            } else {
                stream.partial.extend_from_slice(piece);
            }
        }
        self.flush();
    }

    /// Writes what waits for the end of its line: there will be none.
    pub fn end(&mut self, stream: &mut LogStream) {
        if !stream.partial.is_empty() {
            self.record(&Time::now(), stream, b'P', b"");
            self.flush();
        }
    }

    fn record(&mut self, time: &Time, stream: &mut LogStream, tag: u8, text: &[u8]) {
        let len = time.0.len() + stream.name.len() + stream.partial.len() + text.len() + 5;
        if self.out.len() + len > WRITE_BYTES {
            self.flush();
        }
        self.out.extend_from_slice(&time.0);
        self.out.push(b' ');
        self.out.extend_from_slice(stream.name);
        self.out.extend_from_slice(&[b' ', tag, b' ']);
        self.out.extend_from_slice(&stream.partial);
        self.out.extend_from_slice(text);
        self.out.push(b'\n');
        if !stream.partial.is_empty() {
            // Not only cleared: most streams never need it again.
            stream.partial = Vec::new();
        }
    }

    /// Writes all that was collected, or nothing: half a record would spoil the one after it.
    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let mut written = 0;
        if let Some(file) = &self.file {
            while written < self.out.len() {
                match rustix::io::write(file, &self.out[written..]) {
                    Ok(0) => break,
                    Ok(n) => written += n,
                    Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
            if written < self.out.len()
                && let Ok(stat) = rustix::fs::fstat(file)
            {
                let _ = rustix::fs::ftruncate(file, (stat.st_size as u64).saturating_sub(written as u64));
                written = 0;
            }
        }
        self.lost_bytes += (self.out.len() - written) as u64;
        self.out.clear();
    }
}

/// RFC 3339 with nanoseconds, UTC.
struct Time([u8; 30]);

impl Time {
    fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::format(now.as_secs(), now.subsec_nanos())
    }

    /// Days to a date by Howard Hinnant's `civil_from_days`.
    fn format(unix_seconds: u64, nanos: u32) -> Self {
        let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        for (at, digits, value) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, second / 3600),
            (14, 2, second / 60 % 60),
            (17, 2, second % 60),
            (20, 9, u64::from(nanos)),
        ] {
            let mut value = value;
            for place in (at..at + digits).rev() {
                text[place] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn log(dir: &tempfile::TempDir) -> (Log, std::path::PathBuf) {
        let path = dir.path().join("0.log");
        (Log::open(CString::new(path.to_str().unwrap()).unwrap()).unwrap(), path)
    }

    /// Records without their times.
    fn records(path: &std::path::Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn times_are_right() {
        let text = |s, n| String::from_utf8(Time::format(s, n).0.to_vec()).unwrap();
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_400, 5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(text(1_795_233_599, 999_999_999), "2026-11-21T03:59:59.999999999Z");
        assert_eq!(text(4_102_444_799, 1), "2099-12-31T23:59:59.000000001Z");
    }

    #[test]
    fn lines_whole_partial_and_long() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir);
        let (mut out, mut err) = (LogStream::new("stdout"), LogStream::new("stderr"));
        log.feed(&mut out, b"one\ntw");
        log.feed(&mut err, b"oops\n\n");
        log.feed(&mut out, b"o\nprompt> ");
        let long = "x".repeat(LINE_BYTES_MAX + 10);
        log.feed(&mut err, format!("{long}\n").as_bytes());
        log.feed(&mut err, "y".repeat(LINE_BYTES_MAX).as_bytes());
        log.feed(&mut err, b"\n");
        log.end(&mut out);
        log.end(&mut out);
        let want = [
            "stdout F one".to_owned(),
            "stderr F oops".into(),
            "stderr F ".into(),
            "stdout F two".into(),
            format!("stderr P {}", "x".repeat(LINE_BYTES_MAX)),
            "stderr F xxxxxxxxxx".into(),
            format!("stderr F {}", "y".repeat(LINE_BYTES_MAX)),
            "stdout P prompt> ".into(),
        ];
        assert_eq!(records(&path), want);
    }

    #[test]
    fn rotation_and_much_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, path) = log(&dir);
        let mut out = LogStream::new("stdout");
        log.feed(&mut out, b"old\n");
        let rotated = dir.path().join("0.log.1");
        fs::rename(&path, &rotated).unwrap();
        log.feed(&mut out, b"still old\n");
        log.reopen().unwrap();
        let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
        log.feed(&mut out, lines.as_bytes());
        assert_eq!(records(&rotated), ["stdout F old", "stdout F still old"]);
        let records = records(&path);
        assert_eq!((records.len(), records[19_999].as_str()), (20_000, "stdout F 19999"));
    }

    #[test]
    fn a_full_disk_loses_records_but_never_halves_them() {
        let mut log = Log::open(c"/dev/full".into()).unwrap();
        let mut out = LogStream::new("stdout");
        log.feed(&mut out, b"lost\n");
        assert!(log.lost_bytes > 0);
    }
}
