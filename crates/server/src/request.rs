//! What a request asks for, read from its method, path and query
//! (`k8s.io/apiserver/pkg/endpoints/request`).

use http::Method;

/// The attributes that routing, authorization, admission, audit and metrics share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`-free;
    /// for non-resource paths the lower-case HTTP method.
    pub verb: String,
    pub path: String,
    pub is_resource: bool,
    pub api_group: String,
    pub api_version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows the subresource (`proxy/a/b`): `a/b`, with no leading slash.
    pub tail: String,
    /// Decoded query, in order.
    pub query: Vec<(String, String)>,
    pub field_selector: String,
    pub label_selector: String,
    /// Whether CBOR may be sent and wanted: the server's own setting ([`crate::Features`]), the same for all.
    pub cbor: bool,
}

/// Path prefixes that are verbs, kept for old clients (`/api/v1/watch/pods`).
const SPECIAL_VERBS: [&str; 2] = ["proxy", "watch"];

/// What may follow `/namespaces/{name}/` without being a resource inside the namespace.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A boolean parameter as upstream's conversion reads it: present and not `false` or `0`.
    pub fn query_flag(&self, key: &str) -> bool {
        self.query(key).is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0")
    }

    /// Parses a method and a path with query (`/api/v1/namespaces/x/pods/y/log?follow=true`).
    pub fn parse(method: &Method, path_and_query: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let mut info = Self {
            verb: method.as_str().to_ascii_lowercase(),
            path: percent_decode(path, false),
            query: parse_query(query),
            ..Self::default()
        };
        let path = info.path.clone();
        let parts: Vec<&str> = match path.trim_matches('/') {
            "" => Vec::new(),
            trimmed => trimmed.split('/').collect(),
        };
        if let Some((group, rest)) = split_prefix(&parts) {
            info.is_resource = true;
            group.clone_into(&mut info.api_group);
            rest[0].clone_into(&mut info.api_version);
            info.read_resource(method, &rest[1..]);
        }
        info
    }

    /// `parts` is what follows the version: at least one part.
    fn read_resource(&mut self, method: &Method, mut parts: &[&str]) {
        let by_path = SPECIAL_VERBS.contains(&parts[0]);
        if by_path {
            if parts.len() < 2 {
                // Upstream answers 500 "unable to determine kind and namespace from url"; it never
                // reaches a resource, so the path is served as an unknown one.
                self.is_resource = false;
                return;
            }
            parts[0].clone_into(&mut self.verb);
            parts = &parts[1..];
        } else {
            verb_of(method).clone_into(&mut self.verb);
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            parts[1].clone_into(&mut self.namespace);
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2]) {
                parts = &parts[2..];
            }
        }
        parts[0].clone_into(&mut self.resource);
        parts.get(1).copied().unwrap_or_default().clone_into(&mut self.name);
        if self.verb != "proxy" {
            parts.get(2).copied().unwrap_or_default().clone_into(&mut self.subresource);
        }
        if parts.len() > 3 {
            self.tail = self.path_tail(parts[3..].join("/"));
        }
        self.refine_nameless_verb();
        if !by_path && matches!(&*self.verb, "list" | "watch" | "deletecollection") {
            self.field_selector = self.query("fieldSelector").unwrap_or_default().to_owned();
            self.label_selector = self.query("labelSelector").unwrap_or_default().to_owned();
        }
    }

    /// A proxied path keeps its trailing slash, which trimming took away.
    fn path_tail(&self, joined: String) -> String {
        if self.path.ends_with('/') { joined + "/" } else { joined }
    }

    /// Without a name, a read is a list or a watch and a delete means the collection.
    fn refine_nameless_verb(&mut self) {
        if !self.name.is_empty() {
            return;
        }
        match &*self.verb {
            "get" => {
                let verb = if self.query_flag("watch") { "watch" } else { "list" };
                verb.clone_into(&mut self.verb);
                if let Some(name) = self.query("fieldSelector").and_then(exact_name) {
                    self.name = name;
                }
            }
            "delete" => "deletecollection".clone_into(&mut self.verb),
            _ => {}
        }
    }
}

/// The group and what follows it, from the version on, if `parts` reaches at least a resource.
fn split_prefix<'a, 'p>(parts: &'a [&'p str]) -> Option<(&'p str, &'a [&'p str])> {
    match parts {
        ["api", rest @ ..] if rest.len() >= 2 => Some(("", rest)),
        ["apis", group, rest @ ..] if rest.len() >= 2 => Some((group, rest)),
        _ => None,
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The name a field selector pins: `metadata.name=x` among its terms, if it may stand in a path.
fn exact_name(selector: &str) -> Option<String> {
    let value = selector.split(',').find_map(|term| {
        let value = term.trim().strip_prefix("metadata.name=")?;
        Some(value.strip_prefix('=').unwrap_or(value))
    })?;
    let fits = !value.is_empty() && value != "." && value != ".." && !value.contains(['/', '%']);
    fits.then(|| value.to_owned())
}

/// `a=b&c=d`, decoded, in order.
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        })
        .collect()
}

/// Decodes `%xx` (and `+` in queries); broken escapes stay as they are.
pub fn percent_decode(text: &str, plus_is_space: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = if bytes[i] == b'%' { text.get(i + 1..i + 3) } else { None };
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(if plus_is_space && bytes[i] == b'+' { b' ' } else { bytes[i] });
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// method, path, then: verb, group, version, namespace, resource, subresource, name, tail.
    const RESOURCES: &[(&str, &str, [&str; 8])] = &[
        ("GET", "/api/v1/namespaces", ["list", "", "v1", "", "namespaces", "", "", ""]),
        ("GET", "/api/v1/namespaces/other", ["get", "", "v1", "other", "namespaces", "", "other", ""]),
        ("GET", "/api/v1/namespaces/other/pods", ["list", "", "v1", "other", "pods", "", "", ""]),
        ("HEAD", "/api/v1/namespaces/other/pods/foo", ["get", "", "v1", "other", "pods", "", "foo", ""]),
        ("GET", "/api/v1/pods", ["list", "", "v1", "", "pods", "", "", ""]),
        ("GET", "/api/v1/proxy/namespaces/other/pods/foo", ["proxy", "", "v1", "other", "pods", "", "foo", ""]),
        ("GET", "/api/v1/watch/pods", ["watch", "", "v1", "", "pods", "", "", ""]),
        ("GET", "/api/v1/watch/namespaces/other/pods", ["watch", "", "v1", "other", "pods", "", "", ""]),
        ("GET", "/api/v1/pods?watch=true", ["watch", "", "v1", "", "pods", "", "", ""]),
        ("GET", "/api/v1/pods?watch", ["watch", "", "v1", "", "pods", "", "", ""]),
        ("GET", "/api/v1/pods?watch=0", ["list", "", "v1", "", "pods", "", "", ""]),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Da", ["list", "", "v1", "", "pods", "", "a", ""]),
        ("GET", "/api/v1/namespaces/o/pods/foo/status", ["get", "", "v1", "o", "pods", "status", "foo", ""]),
        ("GET", "/api/v1/namespaces/o/pods/foo/proxy/a/b/", ["get", "", "v1", "o", "pods", "proxy", "foo", "a/b/"]),
        ("PUT", "/api/v1/namespaces/o/finalize", ["update", "", "v1", "o", "namespaces", "finalize", "o", ""]),
        ("PUT", "/api/v1/namespaces/o/status", ["update", "", "v1", "o", "namespaces", "status", "o", ""]),
        ("DELETE", "/api/v1/nodes", ["deletecollection", "", "v1", "", "nodes", "", "", ""]),
        ("DELETE", "/api/v1/nodes/a", ["delete", "", "v1", "", "nodes", "", "a", ""]),
        ("PATCH", "/apis/apps/v1/namespaces/o/deployments/d", ["patch", "apps", "v1", "o", "deployments", "", "d", ""]),
        ("POST", "/apis/apps/v1/namespaces/o/deployments", ["create", "apps", "v1", "o", "deployments", "", "", ""]),
    ];

    #[test]
    fn resource_paths() {
        for (method, path, want) in RESOURCES {
            let got = RequestInfo::parse(&method.parse().unwrap(), path);
            assert!(got.is_resource, "{path}");
            let fields = [
                got.verb,
                got.api_group,
                got.api_version,
                got.namespace,
                got.resource,
                got.subresource,
                got.name,
                got.tail,
            ];
            assert_eq!(&fields.each_ref().map(String::as_str), want, "{method} {path}");
        }
    }

    #[test]
    fn other_paths() {
        for path in ["/", "/api/v1", "/apis/apps/v1", "/apis/apps", "/healthz", "/bad/v1/pods", "/api/v1/watch"] {
            assert!(!RequestInfo::parse(&Method::GET, path).is_resource, "{path}");
        }
        assert_eq!(RequestInfo::parse(&Method::GET, "/healthz").verb, "get");
    }

    #[test]
    fn selectors_and_queries() {
        let info =
            RequestInfo::parse(&Method::GET, "/api/v1/pods?labelSelector=a%3Db%2Cc&fieldSelector=x%21%3D1&y=a+b");
        assert_eq!((info.label_selector.as_str(), info.field_selector.as_str()), ("a=b,c", "x!=1"));
        assert_eq!(info.query("y"), Some("a b"));
        let watch = RequestInfo::parse(&Method::GET, "/api/v1/watch/pods?labelSelector=a");
        assert_eq!(watch.label_selector, "");
    }
}
