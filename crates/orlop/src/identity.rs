//! Who this server is when it stands for leader.

use std::io;
use std::path::Path;

use orlop_base::id;

/// Host name and something random, as upstream's components; the random part is kept in `file`.
///
/// The file lies beside the store, which one process at a time holds locked: who reads it is the only
/// one of this identity alive. So a start after `kill -9` or power loss renews its predecessor's lease
/// instead of waiting for it to expire, and a second server, even of the same host name, is another.
pub fn candidate(file: &Path) -> io::Result<String> {
    let host_name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    Ok(format!("{host_name}_{}", kept(file)?))
}

const UUID_CHARS: usize = 36;

fn kept(file: &Path) -> io::Result<String> {
    match std::fs::read_to_string(file) {
        // A file cut short by a power loss is no identity.
        Ok(known) if known.len() == UUID_CHARS => return Ok(known),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let new = id::uuid();
    std::fs::write(file, &new)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_stays_who_it_is_and_is_nobody_else() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let identity = |dir: &tempfile::TempDir| candidate(&dir.path().join("identity")).unwrap();
        let first = identity(&one);
        assert_eq!(identity(&one), first);
        assert_ne!(identity(&other), first);
        std::fs::write(one.path().join("identity"), "").unwrap();
        assert_ne!(identity(&one), first);
    }
}
