//! Image references, as `github.com/distribution/reference` parses and normalises them.

use std::fmt;

use crate::ImageError;
use crate::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
/// `NameTotalLengthMax`: domain and path together.
const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

/// A normalised reference: always a domain and a path, a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub domain: String,
    pub path: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Reference {
    /// Parses a familiar or full name; without tag and digest the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid = |why: &str| ImageError::InvalidName { reference: text.to_owned(), why: why.to_owned() };
        if text.is_empty() {
            return Err(invalid("invalid reference format"));
        }
        if is_hex64(text) {
            return Err(invalid(&format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).ok_or_else(|| invalid("invalid reference format"))?))
            }
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("invalid reference format"));
        }
        let (domain, path) = split_domain(name);
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(invalid(&format!("invalid reference format: repository name ({path}) must be lowercase")));
        }
        if !is_domain(&domain) || !is_path(&path) {
            return Err(invalid("invalid reference format"));
        }
        if domain.len() + 1 + path.len() > NAME_LENGTH_MAX {
            return Err(invalid("repository name must not be more than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { domain, path, tag, digest })
    }

    /// `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// `docker.io/library/nginx:1.27`, when there is a tag.
    pub fn tagged(&self) -> Option<String> {
        self.tag.as_ref().map(|tag| format!("{}:{tag}", self.name()))
    }

    /// `docker.io/library/nginx@sha256:...`.
    pub fn with_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }

    /// What a registry calls it: the digest, else the tag.
    pub fn identifier(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag.as_deref().unwrap_or("latest"), Digest::as_str)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A colon after the last slash starts a tag; one before it belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last_slash = text.rfind('/').map_or(0, |at| at + 1);
    match text[last_slash..].find(':') {
        Some(at) => (&text[..last_slash + at], Some(&text[last_slash + at + 1..])),
        None => (text, None),
    }
}

/// The first part is a host if it looks like one: has a dot or a port, is `localhost`, or has capitals.
fn split_domain(name: &str) -> (String, String) {
    let (mut domain, mut path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first.to_owned(), rest.to_owned())
        }
        _ => (DEFAULT_DOMAIN.to_owned(), name.to_owned()),
    };
    if domain == LEGACY_DEFAULT_DOMAIN {
        DEFAULT_DOMAIN.clone_into(&mut domain);
    }
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        path.insert_str(0, OFFICIAL_PREFIX);
    }
    (domain, path)
}

fn is_domain(domain: &str) -> bool {
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let hex_or_colon = |b: u8| b.is_ascii_hexdigit() || b == b':';
        return !address.is_empty() && address.bytes().all(hex_or_colon) && (port.is_empty() || is_port(port));
    }
    let (host, port) = domain.find(':').map_or((domain, ""), |at| domain.split_at(at));
    let component = |c: &str| {
        !c.is_empty()
            && c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !c.starts_with('-')
            && !c.ends_with('-')
    };
    host.split('.').all(component) && (port.is_empty() || is_port(port))
}

fn is_port(port: &str) -> bool {
    port.strip_prefix(':').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case alphanumerics joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if bytes.is_empty() || !alphanumeric(bytes[0]) || !alphanumeric(bytes[bytes.len() - 1]) {
        return false;
    }
    let separators = component.split(|c: char| c.is_ascii() && alphanumeric(c as u8)).filter(|s| !s.is_empty());
    separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !tag.is_empty()
        && tag.len() <= TAG_LENGTH_MAX
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        let hex = "0".repeat(64);
        let cases = [
            ("nginx".to_owned(), "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27".into(), "docker.io/library/nginx:1.27".into()),
            ("a/b".into(), "docker.io/a/b:latest".into()),
            ("index.docker.io/nginx".into(), "docker.io/library/nginx:latest".into()),
            ("localhost/x".into(), "localhost/x:latest".into()),
            ("localhost:5000/x/y:t".into(), "localhost:5000/x/y:t".into()),
            (
                "registry.k8s.io/e2e-test-images/agnhost:2.53".into(),
                "registry.k8s.io/e2e-test-images/agnhost:2.53".into(),
            ),
            ("[::1]:5000/x".into(), "[::1]:5000/x:latest".into()),
            ("a__b/c-----d".into(), "docker.io/a__b/c-----d:latest".into()),
            (format!("nginx@sha256:{hex}"), format!("docker.io/library/nginx@sha256:{hex}")),
            (format!("h.io/nginx:1@sha256:{hex}"), format!("h.io/nginx:1@sha256:{hex}")),
        ];
        for (text, want) in cases {
            assert_eq!(Reference::parse(&text).unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn bad_names_are_refused_in_upstreams_words() {
        let format = "invalid reference format";
        let cases = [
            ("", format),
            ("a b", format),
            ("nginx:", format),
            ("nginx:-x", format),
            ("nginx@sha256:12", format),
            ("a..b", format),
            ("a___b", format),
            ("-x.io/a", format),
            ("nginx/", format),
            ("http://h/x", format),
            ("a/Nginx", "invalid reference format: repository name (a/Nginx) must be lowercase"),
        ];
        for (text, want) in cases {
            match Reference::parse(text) {
                Err(ImageError::InvalidName { why, .. }) => assert_eq!(why, want, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let long = format!("h.io/{}", "a".repeat(255));
        assert!(Reference::parse(&long).unwrap_err().to_string().contains("must not be more than 255 characters"));
    }
}
