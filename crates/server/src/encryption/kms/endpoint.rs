//! `unix:///run/kms.sock`, `unix:///@abstract`.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;

/// The scheme of a URL, where Go finds one.
pub fn scheme(url: &str) -> Result<&str, String> {
    let end = url.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.')).unwrap_or(url.len());
    match (&url[..end], url[end..].starts_with(':')) {
        ("", true) => Err(format!("parse {url:?}: missing protocol scheme")),
        (scheme, true) if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(scheme),
        (_, true) => Err(format!("parse {url:?}: first path segment in URL cannot contain colon")),
        (_, false) => Ok(""),
    }
}

/// The socket that a `unix://` URL names.
pub fn address(url: &str) -> io::Result<SocketAddr> {
    let rest = url.split_once(':').map_or("", |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
        None => rest,
    };
    match path.strip_prefix("/@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sockets_have_a_path_or_a_name() {
        let path = |url| address(url).expect("an address").as_pathname().map(Path::to_owned);
        assert_eq!(path("unix:///run/kms.sock").as_deref(), Some(Path::new("/run/kms.sock")));
        assert_eq!(path("unix:/run/kms.sock").as_deref(), Some(Path::new("/run/kms.sock")));
        assert_eq!(address("unix:///@kms").expect("an address").as_abstract_name(), Some(&b"kms"[..]));
        assert_eq!(scheme("unix:///a"), Ok("unix"));
        assert_eq!(scheme("run/kms.sock"), Ok(""));
        assert_eq!(scheme("://a"), Err("parse \"://a\": missing protocol scheme".into()));
    }
}
