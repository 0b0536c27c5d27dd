//! URLs of a proxied server, as the caller must write them to come back through the proxy
//! (`apimachinery/pkg/util/proxy/transport.go`).

/// How one proxied request's URLs change.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    /// Path under which the proxied server's root appears.
    pub prefix: String,
    /// `host:port` of the proxied server.
    pub backend: String,
    /// `Host` as the caller wrote it.
    pub caller: String,
}

impl Rewrite {
    /// Paths of the proxied server get the prefix; relative ones and those of other hosts stay.
    pub fn url(&self, url: &str) -> String {
        let (origin, rest) = split_origin(url);
        let host = origin.rsplit('/').next().unwrap_or_default();
        let other = !host.is_empty() && host != self.backend && host != self.caller;
        if other || !rest.starts_with('/') {
            return url.to_owned();
        }
        let origin = if host == self.caller { origin } else { "" };
        let (path, tail) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        if path.starts_with(&self.prefix) {
            return format!("{origin}{rest}");
        }
        format!("{origin}{}{tail}", join(&self.prefix, path))
    }
}

/// `scheme://host` or `//host`, and what follows.
fn split_origin(url: &str) -> (&str, &str) {
    let scheme_end =
        url.find(':').filter(|at| url[..*at].bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)));
    let after_scheme = scheme_end.map_or(0, |at| at + 1);
    if !url[after_scheme..].starts_with("//") {
        return ("", url);
    }
    let host = after_scheme + 2;
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    url.split_at(end)
}

/// Joins and cleans paths as Go's `path.Join`, keeping a slash at the end.
fn join(prefix: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut joined = format!("/{}", parts.join("/"));
    if path.ends_with('/') && !joined.ends_with('/') {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_back_through_the_proxy() {
        let rewrite = Rewrite { prefix: "/p/proxy".into(), backend: "10.0.0.1:80".into(), caller: "api:6443".into() };
        for (url, expected) in [
            ("/a/b", "/p/proxy/a/b"),
            ("/a/../c/?q=1#f", "/p/proxy/c/?q=1#f"),
            ("/", "/p/proxy/"),
            ("a/b", "a/b"),
            ("?q", "?q"),
            ("#top", "#top"),
            ("http://10.0.0.1:80/a", "/p/proxy/a"),
            ("//10.0.0.1:80/a", "/p/proxy/a"),
            ("https://api:6443/a", "https://api:6443/p/proxy/a"),
            ("http://elsewhere/a", "http://elsewhere/a"),
            ("mailto:a@b", "mailto:a@b"),
            ("/p/proxy/a", "/p/proxy/a"),
        ] {
            assert_eq!(rewrite.url(url), expected, "{url}");
        }
    }
}
