//! Which credentials fit an image: `imagePullSecrets` against its repository
//! (`pkg/credentialprovider`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orlop_image::Credentials;
use serde_json::Value;

use crate::corev1::Secret;

const DOCKER_CONFIG_JSON: &str = ".dockerconfigjson";
const DOCKER_CFG: &str = ".dockercfg";
/// Where credentials for Docker Hub are kept.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// Credentials by the repository prefix they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    /// More specific keys first.
    entries: Vec<(String, Credentials)>,
}

impl Keyring {
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut entries: Vec<(String, Credentials)> = secrets.into_iter().flat_map(entries_of).collect();
        entries.sort_by(|a, b| b.0.cmp(&a.0));
        Self { entries }
    }

    /// Credentials to try for a repository (`docker.io/library/nginx`), in order.
    pub fn lookup(&self, repository: &str) -> Vec<Credentials> {
        let of = |fits: &dyn Fn(&str) -> bool| -> Vec<Credentials> {
            self.entries.iter().filter(|(key, _)| fits(key)).map(|(_, c)| c.clone()).collect()
        };
        let found = of(&|key| matches(key, repository));
        if found.is_empty() && is_docker_hub(repository) {
            return of(&|key| key.split('/').next() == Some(DEFAULT_REGISTRY));
        }
        found
    }
}

fn entries_of(secret: &Secret) -> Vec<(String, Credentials)> {
    let data = |key: &str| -> Option<Value> { serde_json::from_slice(&secret.data.as_ref()?.get(key)?.0).ok() };
    let auths = match (secret.type_.as_deref(), data(DOCKER_CONFIG_JSON), data(DOCKER_CFG)) {
        (Some("kubernetes.io/dockercfg"), _, Some(config)) => config,
        (_, Some(mut config), _) => config["auths"].take(),
        (_, None, Some(config)) => config,
        _ => return Vec::new(),
    };
    let Value::Object(auths) = auths else { return Vec::new() };
    auths.iter().filter_map(|(url, entry)| Some((key_of(url)?, credentials(entry)?))).collect()
}

/// Host and path, without scheme and API version.
fn key_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = ["v1/", "v2/"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    (!host.is_empty()).then(|| if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") })
}

fn credentials(entry: &Value) -> Option<Credentials> {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) {
        let decoded = String::from_utf8(STANDARD.decode(auth.trim_end_matches('\0')).ok()?).ok()?;
        let (user, secret) = decoded.split_once(':')?;
        (username, password) = (user.to_owned(), secret.trim_end_matches('\0').to_owned());
    }
    Some(Credentials { username, password, identity_token: text("identitytoken") })
}

/// `*.example.com/team` covers `a.example.com/team/image`: as many labels, same port, path prefix.
fn matches(key: &str, repository: &str) -> bool {
    let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    let split = |host: &str| -> (Vec<String>, String) {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        (name.split('.').map(str::to_owned).collect(), port.to_owned())
    };
    let ((key_labels, key_port), (labels, port)) = (split(key_host), split(host));
    key_port == port
        && key_labels.len() == labels.len()
        && path.starts_with(key_path)
        && key_labels.iter().zip(&labels).all(|(pattern, label)| fits(pattern, label))
}

/// A `*` stands for any run of characters within a label.
fn fits(pattern: &str, label: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == label };
    let Some(rest) = label.strip_prefix(before) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| fits(after, &rest[at..]))
}

fn is_docker_hub(repository: &str) -> bool {
    match repository.split_once('/') {
        Some((host, _)) => host == "docker.io" || host == DEFAULT_REGISTRY || !host.contains(['.', ':']),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::Typed;
    use serde_json::json;

    use super::*;

    fn secret(auths: Value) -> Secret {
        let config = STANDARD.encode(json!({ "auths": auths }).to_string());
        let object = json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": config}});
        Secret::decode(object.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_most_specific_comes_first() {
        let user = |name: &str| json!({"username": name, "password": "p"});
        let secrets = [
            secret(json!({"https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:pw")}})),
            secret(json!({"quay.io": user("all"), "quay.io/team": user("team"), "*.example.com:5000": user("glob")})),
        ];
        let keyring = Keyring::of(&secrets);
        for (repository, users) in [
            ("quay.io/team/app", vec!["team", "all"]),
            ("quay.io/other", vec!["all"]),
            ("a.example.com:5000/x", vec!["glob"]),
            ("a.example.com/x", vec![]),
            ("b.a.example.com:5000/x", vec![]),
            ("docker.io/library/nginx", vec!["hub"]),
        ] {
            let found: Vec<String> = keyring.lookup(repository).into_iter().map(|c| c.username).collect();
            assert_eq!(found, users, "{repository}");
        }
    }
}
