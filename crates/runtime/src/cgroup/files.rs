//! Reading and writing the kernel's little files.

use std::fs;
use std::io;
use std::path::Path;

/// Writes a value; the error names file and value.
pub fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = dir.join(file);
    // Never created: a missing file is a missing feature.
    let written =
        fs::File::options().write(true).open(&path).and_then(|mut f| io::Write::write_all(&mut f, value.as_bytes()));
    written.map_err(|e| io::Error::new(e.kind(), format!("write {value} to {}: {e}", path.display())))
}

/// As [`write`], content when the file does not exist.
pub fn write_if_exists(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    match write(dir, file, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

pub fn read(dir: &Path, file: &str) -> io::Result<String> {
    let path = dir.join(file);
    fs::read_to_string(&path).map_err(|e| io::Error::new(e.kind(), format!("read {}: {e}", path.display())))
}

/// A file that holds one number; `max` counts as the largest.
pub fn number(dir: &Path, file: &str) -> io::Result<u64> {
    let text = read(dir, file)?;
    let text = text.trim();
    if text == "max" {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{file} holds \"{text}\"")))
}

/// The value of `key` in lines of `key value`.
pub fn field(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Makes a directory and its parents; true when it was not there.
pub fn make_dir(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path)
                .map_err(|e| io::Error::new(e.kind(), format!("create cgroup {}: {e}", path.display())))?;
            Ok(true)
        }
        Err(e) => Err(io::Error::new(e.kind(), format!("create cgroup {}: {e}", path.display()))),
    }
}
