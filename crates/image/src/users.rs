//! Who a container runs as: the image's `User` field against the image's own passwd and group files.

use std::io::Read;
use std::path::Path;

use crate::unpack::lower;
use crate::{Image, ImageError};

/// Larger files are not what they claim to be.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// `uid[:gid]` with names resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Groups of `/etc/group` that list the user.
    pub groups: Vec<u32>,
    /// A name was given, not a number: `runAsNonRoot` cannot be judged from the image config alone.
    pub by_name: bool,
}

/// Resolves `user` (`""`, `1000`, `nginx`, `1000:1000`, `nginx:www-data`) in the image's root file system.
pub fn resolve(image: &Image, user: &str) -> Result<User, ImageError> {
    resolve_in(&read(image, "etc/passwd")?, &read(image, "etc/group")?, user)
}

fn resolve_in(passwd: &str, group: &str, user: &str) -> Result<User, ImageError> {
    let (name, group_name) = user.split_once(':').unwrap_or((user, ""));
    let wanted: Option<u32> = if name.is_empty() { Some(0) } else { name.parse().ok() };
    let mut accounts = passwd.lines().filter_map(Account::parse);
    let account = accounts.find(|a| a.name == name || wanted == Some(a.uid));
    let Some(uid) = account.as_ref().map(|a| a.uid).or(wanted) else {
        return Err(ImageError::Malformed(format!("unable to find user {name}: no matching entries in passwd file")));
    };
    let mut found = User { uid, by_name: wanted.is_none(), ..User::default() };
    let mut entries = group.lines().filter_map(Group::parse);
    if group_name.is_empty() {
        found.gid = account.as_ref().map_or(0, |a| a.gid);
        found.groups = account.map_or_else(Vec::new, |account| {
            entries.filter(|g| g.members.split(',').any(|m| m == account.name)).map(|g| g.gid).collect()
        });
        return Ok(found);
    }
    let wanted: Option<u32> = group_name.parse().ok();
    let entry = entries.find(|g| g.name == group_name || wanted == Some(g.gid));
    found.gid = entry.map(|g| g.gid).or(wanted).ok_or_else(|| {
        ImageError::Malformed(format!("unable to find group {group_name}: no matching entries in group file"))
    })?;
    Ok(found)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some(Self { name, uid: fields.nth(1)?.trim().parse().ok()?, gid: fields.next()?.trim().parse().ok()? })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some(Self { name, gid: fields.nth(1)?.trim().parse().ok()?, members: fields.next().unwrap_or("").trim() })
    }
}

/// A file of the image; empty when there is none.
fn read(image: &Image, path: &str) -> Result<String, ImageError> {
    let Some(file) = lower::resolve(&image.layers, Path::new(path)) else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    std::fs::File::open(&file)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|source| ImageError::Io { doing: format!("read /{path} of the image"), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_resolve_as_other_runtimes_do() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/:/bin/false\n# odd\nbad:x:y:z\n";
        let group = "root:x:0:\nnginx:x:102:\nssl:x:200:nginx,www\nwww:x:33:\n";
        let user = |uid, gid, groups: &[u32], by_name| User { uid, gid, groups: groups.to_vec(), by_name };
        let cases = [
            ("", user(0, 0, &[], false)),
            ("nginx", user(101, 102, &[200], true)),
            ("101", user(101, 102, &[200], false)),
            ("5000", user(5000, 0, &[], false)),
            ("nginx:www", user(101, 33, &[], true)),
            ("5000:7", user(5000, 7, &[], false)),
        ];
        for (text, want) in cases {
            assert_eq!(resolve_in(passwd, group, text).unwrap(), want, "{text}");
        }
        let error = |text| resolve_in(passwd, group, text).unwrap_err().to_string();
        assert_eq!(error("who"), "unable to find user who: no matching entries in passwd file");
        assert_eq!(error("0:who"), "unable to find group who: no matching entries in group file");
    }
}
