//! Which path means what.

use http::{Method, Uri};

/// A pod, and where it matters one of its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub namespace: String,
    pub pod: String,
    /// Empty: whichever pod has the name.
    pub uid: String,
    pub container: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Healthz,
    Configz,
    Pods,
    RunningPods,
    Summary,
    Metrics,
    ResourceMetrics,
    CadvisorMetrics,
    ProbeMetrics,
    Logs(Target),
    Exec(Target),
    Attach(Target),
    Run(Target),
    PortForward(Target),
}

impl Route {
    pub fn parse(method: &Method, path: &str) -> Option<Self> {
        let get = *method == Method::GET;
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["healthz", ..] if get => Some(Self::Healthz),
            ["configz"] if get => Some(Self::Configz),
            ["pods"] if get => Some(Self::Pods),
            ["runningpods"] if get => Some(Self::RunningPods),
            ["stats", "summary"] => Some(Self::Summary),
            ["metrics"] if get => Some(Self::Metrics),
            ["metrics", "resource"] if get => Some(Self::ResourceMetrics),
            ["metrics", "cadvisor"] if get => Some(Self::CadvisorMetrics),
            ["metrics", "probes"] if get => Some(Self::ProbeMetrics),
            ["containerLogs", rest @ ..] if get => container(rest).map(Self::Logs),
            ["exec", rest @ ..] => container(rest).map(Self::Exec),
            ["attach", rest @ ..] => container(rest).map(Self::Attach),
            ["run", rest @ ..] if *method == Method::POST => container(rest).map(Self::Run),
            ["portForward", rest @ ..] => pod(rest).map(Self::PortForward),
            _ => None,
        }
    }
}

/// `namespace/pod[/uid]/container`
fn container(parts: &[&str]) -> Option<Target> {
    let owned = |text: &&str| (*text).to_owned();
    match parts {
        [namespace, pod, container] => Some(Target {
            namespace: owned(namespace),
            pod: owned(pod),
            container: owned(container),
            uid: String::new(),
        }),
        [namespace, pod, uid, container] => {
            Some(Target { namespace: owned(namespace), pod: owned(pod), uid: owned(uid), container: owned(container) })
        }
        _ => None,
    }
}

/// `namespace/pod[/uid]`
fn pod(parts: &[&str]) -> Option<Target> {
    let (names, uid) = match parts {
        [namespace, pod] => ([namespace, pod], ""),
        [namespace, pod, uid] => ([namespace, pod], *uid),
        _ => return None,
    };
    let [namespace, pod] = names.map(|name| (*name).to_owned());
    Some(Target { namespace, pod, uid: uid.to_owned(), container: String::new() })
}

/// Decoded pairs of a query, in order.
pub fn query(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    });
    decoded.collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let target = |uid: &str, container: &str| Target {
            namespace: "ns".into(),
            pod: "p".into(),
            uid: uid.into(),
            container: container.into(),
        };
        for (method, path, route) in [
            ("GET", "/healthz", Some(Route::Healthz)),
            ("GET", "/runningpods/", Some(Route::RunningPods)),
            ("GET", "/containerLogs/ns/p/c", Some(Route::Logs(target("", "c")))),
            ("POST", "/exec/ns/p/u/c", Some(Route::Exec(target("u", "c")))),
            ("GET", "/portForward/ns/p", Some(Route::PortForward(target("", "")))),
            ("GET", "/run/ns/p/c", None),
            ("GET", "/containerLogs/ns/p", None),
            ("GET", "/nothing", None),
        ] {
            assert_eq!(Route::parse(&method.parse().unwrap(), path), route, "{path}");
        }
        let uri: Uri = "/exec/a/b/c?command=sh&command=-c&command=echo%20%24HOME+x&tty=1".parse().unwrap();
        let values: Vec<String> = query(&uri).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["sh", "-c", "echo $HOME x", "1"]);
    }
}
