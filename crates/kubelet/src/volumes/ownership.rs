//! `fsGroup`: a volume belongs to a group, which may read and write it (`pkg/volume/volume_linux.go`).

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

const READ_WRITE: u32 = 0o660;
const READ_ONLY: u32 = 0o440;
const ENTER: u32 = 0o110;
/// What is made in a directory belongs to its group.
const SETGID: u32 = 0o2000;

/// Hands `dir` and all in it to `group`. Links are handed over, not followed.
pub fn hand_over(dir: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(dir)?;
    lchown(dir, None, Some(group))?;
    if metadata.file_type().is_symlink() {
        return Ok(());
    }
    let mut mask = if read_only { READ_ONLY } else { READ_WRITE };
    if metadata.is_dir() {
        mask |= SETGID | ENTER;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(metadata.mode() & 0o7777 | mask))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(dir)? {
            hand_over(&entry?.path(), group, read_only)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[test]
    fn the_group_gets_in_and_links_are_not_followed() {
        let dir = temp_dir();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("f"), "x").unwrap();
        fs::set_permissions(volume.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        let before = fs::metadata(dir.path().join("outside")).unwrap().mode();
        std::os::unix::fs::symlink("../outside", volume.join("l")).unwrap();
        let group = fs::metadata(dir.path()).unwrap().gid();
        hand_over(&volume, group, false).unwrap();
        assert_eq!(fs::metadata(volume.join("f")).unwrap().mode() & 0o7777, 0o660);
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o2770, 0o2770);
        assert_eq!(fs::metadata(dir.path().join("outside")).unwrap().mode(), before);
    }
}
