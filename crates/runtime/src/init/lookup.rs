//! Finding the program, with the error texts users know from Go's `os/exec` and runc.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::{Step, cause};

/// The file to execute for `name`: itself if it has a slash, else the first in `PATH`.
pub fn find(name: &CStr, env: &[CString], own_exe: (u64, u64)) -> Step<CString> {
    let shown = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        return match check(name, own_exe) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                Err(format!("exec: \"{shown}\": stat {shown}: no such file or directory"))
            }
            Err(Errno::ISDIR) => Err(format!("exec: \"{shown}\": is a directory")),
            Err(errno) => Err(format!("exec: \"{shown}\": {}", cause(&errno.into()))),
        };
    }
    let path = env.iter().find_map(|var| var.to_bytes().strip_prefix(b"PATH=")).unwrap_or_default();
    for dir in path.split(|b| *b == b':') {
        let dir = if dir.is_empty() { &b"."[..] } else { dir };
        let candidate = Path::new(std::ffi::OsStr::from_bytes(dir)).join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let Ok(candidate) = CString::new(candidate.into_os_string().into_encoded_bytes()) else { continue };
        if !name.is_empty() && check(&candidate, own_exe).is_ok() {
            return Ok(candidate);
        }
    }
    Err(format!("exec: \"{shown}\": executable file not found in $PATH"))
}

fn check(path: &CStr, own_exe: (u64, u64)) -> Result<(), Errno> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    if (stat.st_dev, stat.st_ino) == own_exe {
        return Err(Errno::ACCESS);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn programs_are_found_or_missed_in_known_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| CString::new(dir.path().join(name).to_str().unwrap()).unwrap();
        for (name, mode) in [("tool", 0o755), ("plain", 0o644), ("me", 0o755)] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let me = dir.path().join("me").metadata().unwrap();
        let own = (me.dev(), me.ino());
        let env = [CString::new(format!("PATH=/nowhere:{}", dir.path().display())).unwrap()];
        assert_eq!(find(c"tool", &env, own), Ok(path("tool")));
        assert_eq!(find(&path("tool"), &[], own), Ok(path("tool")));
        let missing = |name: &str| format!("exec: \"{name}\": executable file not found in $PATH");
        for name in ["plain", "none", "me", ""] {
            assert_eq!(find(&CString::new(name).unwrap(), &env, own), Err(missing(name)));
        }
        let shown = dir.path().display();
        assert_eq!(find(&path("plain"), &env, own), Err(format!("exec: \"{shown}/plain\": permission denied")));
        assert_eq!(find(&path("me"), &env, own), Err(format!("exec: \"{shown}/me\": permission denied")));
        assert_eq!(find(c"/proc", &env, own), Err("exec: \"/proc\": is a directory".into()));
        let none = "exec: \"/none\": stat /none: no such file or directory";
        assert_eq!(find(c"/none", &env, own), Err(none.into()));
    }
}
