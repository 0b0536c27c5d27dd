//! A log file that is begun anew when it is full, its predecessors named by the time they ended, packed, and
//! removed when they are too many or too old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use orlop_base::clock;

/// As upstream names old files: `audit-2026-11-28T20-56-11.123.log`.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const PACKED: &str = "gz";
const MEGABYTE: u64 = 1024 * 1024;
const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// When a file is full, and what becomes of old ones.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub path: PathBuf,
    /// Megabytes; 0 never begins another file.
    pub max_size: u64,
    /// Old files kept; 0 keeps all.
    pub max_backups: usize,
    /// Days; 0 keeps files of any age.
    pub max_age: i64,
    pub compress: bool,
}

pub struct LogFile {
    rotation: Rotation,
    /// A device or a pipe is never full, and stays where it is; but it would mix what several write.
    is_file: bool,
    /// Written while it is read: the kernel appends each writer's lines in one piece. So one who is interrupted does
    /// not keep others waiting; who begins another file waits for all.
    current: RwLock<Current>,
}

struct Current {
    file: File,
    size: AtomicU64,
}

impl LogFile {
    pub fn open(rotation: Rotation) -> io::Result<Self> {
        if let Some(dir) = rotation.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let current = Current::open(&rotation.path)?;
        let is_file = current.file.metadata()?.is_file();
        // Where a link leads to there is room for old files, and the link goes on leading to the newest.
        let path = if is_file { fs::canonicalize(&rotation.path)? } else { rotation.path };
        Ok(Self { rotation: Rotation { path, ..rotation }, is_file, current: RwLock::new(current) })
    }

    /// Takes whole lines, and never divides them between files.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        if !self.is_file {
            return self.current.write().unwrap_or_else(PoisonError::into_inner).file.write_all(lines);
        }
        let bytes = lines.len() as u64;
        let limit = if self.rotation.max_size > 0 { self.rotation.max_size * MEGABYTE } else { u64::MAX };
        if bytes > limit {
            return Err(io::Error::other(format!("write length {bytes} exceeds maximum file size {limit}")));
        }
        loop {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if current.take(bytes, limit) {
                return (&current.file).write_all(lines);
            }
            drop(current);
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            // Another may have been quicker.
            if current.size.load(Ordering::Relaxed) > limit - bytes {
                self.rotate(&mut current)?;
            }
        }
    }

    fn rotate(&self, current: &mut Current) -> io::Result<()> {
        match fs::rename(&self.rotation.path, unused_name(&self.rotation.path, clock::now())) {
            // Others moved it away, or no other could be begun the last time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        *current = Current::open(&self.rotation.path)?;
        let rotation = self.rotation.clone();
        // Packing takes a while, and nobody waits for it.
        std::thread::Builder::new().name("audit-log-tidy".into()).spawn(move || {
            if let Err(error) = tidy(&rotation, clock::now()) {
                tracing::warn!(%error, path = %rotation.path.display(), "tidying old audit logs failed");
            }
        })?;
        Ok(())
    }
}

impl Current {
    fn open(path: &Path) -> io::Result<Self> {
        let file = begin(path)?;
        let size = AtomicU64::new(file.metadata()?.len());
        Ok(Self { file, size })
    }

    /// Whether there was room for so many bytes.
    fn take(&self, bytes: u64, limit: u64) -> bool {
        let room = |size: u64| size.checked_add(bytes).filter(|size| *size <= limit);
        self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }
}

fn begin(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// `DIR/NAME-STAMP.EXT`, a moment later where a file that ended in the same millisecond has that name.
fn unused_name(path: &Path, now: Timestamp) -> PathBuf {
    let (prefix, suffix) = affixes(path);
    let moments = (0..).map(|later| now + SignedDuration::from_millis(later));
    let mut names = moments.map(|moment| path.with_file_name(format!("{prefix}{}{suffix}", moment.strftime(STAMP))));
    names.find(|name| !name.exists()).expect("there is always another moment")
}

fn affixes(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|ext| format!(".{}", ext.to_string_lossy()));
    (format!("{stem}-"), extension.unwrap_or_default())
}

/// One file that ended.
struct Old {
    path: PathBuf,
    stamp: String,
    packed: bool,
}

/// Old files, the newest first.
fn old_files(path: &Path) -> io::Result<Vec<Old>> {
    let (prefix, suffix) = affixes(path);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plain = name.strip_suffix(&format!(".{PACKED}")).unwrap_or(&name);
        let stamp = plain.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&suffix));
        if let Some(stamp) = stamp.filter(|stamp| DateTime::strptime(STAMP, stamp).is_ok()) {
            found.push(Old { stamp: stamp.to_owned(), packed: plain.len() < name.len(), path });
        }
    }
    found.sort_by(|a, b| b.stamp.cmp(&a.stamp));
    Ok(found)
}

/// Removes what is too much or too old, and packs the rest.
fn tidy(rotation: &Rotation, now: Timestamp) -> io::Result<()> {
    let oldest = Timestamp::from_second(now.as_second() - rotation.max_age * SECONDS_A_DAY).unwrap_or_default();
    let oldest = oldest.strftime(STAMP).to_string();
    for (i, old) in old_files(&rotation.path)?.into_iter().enumerate() {
        let too_many = rotation.max_backups > 0 && i >= rotation.max_backups;
        let too_old = rotation.max_age > 0 && old.stamp < oldest;
        if too_many || too_old {
            fs::remove_file(&old.path)?;
        } else if rotation.compress && !old.packed {
            pack(&old.path)?;
        }
    }
    Ok(())
}

fn pack(path: &Path) -> io::Result<()> {
    let packed = PathBuf::from(format!("{}.{PACKED}", path.display()));
    let unfinished = packed.with_extension("tmp");
    let mut out = GzEncoder::new(begin(&unfinished)?, Compression::default());
    io::copy(&mut File::open(path)?, &mut out)?;
    out.finish()?.sync_all()?;
    fs::rename(&unfinished, &packed)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("read");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_makes_room_for_another() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("logs/audit.log");
        let rotation = Rotation { path: path.clone(), max_size: 1, max_backups: 0, max_age: 0, compress: false };
        let file = LogFile::open(rotation).expect("opened");
        let line = vec![b'x'; 700 * 1024];
        file.append(&line).expect("written");
        file.append(&line).expect("written");
        let names = names(path.parent().expect("parent"));
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].starts_with("audit-20") && names[1] == "audit.log", "{names:?}");
        assert_eq!(fs::metadata(&path).expect("metadata").len(), line.len() as u64);
        let too_long = vec![b'x'; 1024 * 1024 + 1];
        let error = file.append(&too_long).expect_err("refused").to_string();
        assert_eq!(error, "write length 1048577 exceeds maximum file size 1048576");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("audit.log");
        let rotation = Rotation { path: path.clone(), max_size: 1, max_backups: 0, max_age: 0, compress: false };
        let file = LogFile::open(rotation).expect("opened");
        let line = vec![b'x'; 700 * 1024];
        file.append(&line).expect("written");
        fs::rename(&path, dir.path().join("moved")).expect("moved");
        file.append(&line).expect("written");
        assert_eq!(names(dir.path()), ["audit.log", "moved"]);
        assert_eq!(fs::metadata(&path).expect("metadata").len(), line.len() as u64);
    }

    #[test]
    fn what_is_no_file_of_its_own_stays() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (link, aside) = (dir.path().join("audit.log"), dir.path().join("aside"));
        fs::create_dir(&aside).expect("made");
        let open = |target: &Path| {
            std::os::unix::fs::symlink(target, &link).expect("linked");
            let rotation = Rotation { path: link.clone(), max_size: 1, max_backups: 0, max_age: 0, compress: false };
            let file = LogFile::open(rotation).expect("opened");
            let line = vec![b'x'; 700 * 1024];
            (0..2).for_each(|_| file.append(&line).expect("written"));
            assert_eq!(fs::read_link(&link).expect("a link"), target);
            fs::remove_file(&link).expect("removed");
        };
        open(&aside.join("real.log"));
        assert_eq!(names(&aside).len(), 2);
        // As `/dev/stdout` may be.
        let (mut reader, writer) = io::pipe().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(|| reader.read_exact(&mut vec![0; 1400 * 1024]).expect("read"));
            open(&PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd())));
        });
        assert_eq!(names(dir.path()), ["aside"]);
    }

    #[test]
    fn many_write_at_once_and_no_line_is_divided() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("audit.log");
        let rotation = Rotation { path, max_size: 1, max_backups: 0, max_age: 0, compress: false };
        let file = LogFile::open(rotation).expect("opened");
        let line = |writer: usize| [vec![b'a' + writer as u8; 1000], vec![b'\n']].concat();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let file = &file;
                scope.spawn(move || (0..600).for_each(|_| file.append(&line(writer)).expect("written")));
            }
        });
        let mut counts = [0; 4];
        for name in names(dir.path()) {
            let text = fs::read(dir.path().join(name)).expect("read");
            assert!(text.len() as u64 <= MEGABYTE);
            for found in text.chunks(1001) {
                let writer = usize::from(found[0] - b'a');
                assert!(found == line(writer));
                counts[writer] += 1;
            }
        }
        assert_eq!(counts, [600; 4]);
    }

    #[test]
    fn old_files_are_packed_and_removed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("audit.log");
        for name in [
            "audit.log",
            "audit-2026-01-01T00-00-00.000.log",
            "audit-2026-01-09T00-00-00.000.log.gz",
            "audit-2026-01-10T00-00-00.000.log",
            "audit-old.log",
        ] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        let now: Timestamp = "2026-01-11T00:00:00Z".parse().expect("time");
        let rotation = Rotation { path, max_size: 1, max_backups: 0, max_age: 5, compress: true };
        tidy(&rotation, now).expect("tidied");
        let (ninth, tenth) = ("audit-2026-01-09T00-00-00.000.log.gz", "audit-2026-01-10T00-00-00.000.log.gz");
        assert_eq!(names(dir.path()), [ninth, tenth, "audit-old.log", "audit.log"]);
        tidy(&Rotation { max_backups: 1, ..rotation }, now).expect("tidied");
        assert_eq!(names(dir.path()), [tenth, "audit-old.log", "audit.log"]);
    }
}
