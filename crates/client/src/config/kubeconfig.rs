//! Kubeconfig files: read, merged as kubectl merges them, and one context picked.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use orlop_api::codec::yaml::from_yaml;
use serde::Deserialize;

use super::{Auth, Config, ConfigError, Impersonate};

/// One or several files as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubeconfig {
    pub current_context: String,
    pub clusters: Vec<(String, Cluster)>,
    pub users: Vec<(String, User)>,
    pub contexts: Vec<(String, Context)>,
}

/// What a command line may say instead of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub server: Option<String>,
    pub namespace: Option<String>,
    pub token: Option<String>,
    pub insecure_skip_tls_verify: bool,
    pub impersonate: Option<Impersonate>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Cluster {
    pub server: String,
    pub certificate_authority: Option<PathBuf>,
    pub certificate_authority_data: Option<String>,
    pub insecure_skip_tls_verify: bool,
    pub tls_server_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct User {
    pub client_certificate: Option<PathBuf>,
    pub client_certificate_data: Option<String>,
    pub client_key: Option<PathBuf>,
    pub client_key_data: Option<String>,
    pub token: Option<String>,
    #[serde(rename = "tokenFile")]
    pub token_file: Option<PathBuf>,
    pub username: Option<String>,
    pub password: Option<String>,
    #[serde(rename = "as")]
    pub as_user: Option<String>,
    pub as_uid: Option<String>,
    pub as_groups: Vec<String>,
    pub exec: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Context {
    pub cluster: String,
    pub user: String,
    pub namespace: String,
}

/// The file's outermost shape.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[derive(Default)]
struct File {
    current_context: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    #[serde(default)]
    cluster: Cluster,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    #[serde(default)]
    context: Context,
}

impl Kubeconfig {
    /// `explicit` alone (it must exist), else what `KUBECONFIG` lists, else `~/.kube/config`.
    pub fn load(explicit: Option<&Path>) -> Result<Self, ConfigError> {
        if let Some(path) = explicit {
            return Self::read(path);
        }
        let paths: Vec<PathBuf> = match std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()) {
            Some(list) => std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect(),
            None => std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config")).into_iter().collect(),
        };
        let mut merged = Self::default();
        for path in paths.iter().filter(|p| p.exists()) {
            merged.merge(Self::read(path)?);
        }
        Ok(merged)
    }

    /// One file; its relative paths are relative to it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// What was read from `path`.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, ConfigError> {
        let value = from_yaml(text).map_err(|source| ConfigError::Yaml { path: path.to_owned(), source })?;
        if value.is_null() {
            return Ok(Self::default());
        }
        let value = without_nulls(value);
        let file: File =
            serde_json::from_value(value).map_err(|source| ConfigError::Shape { path: path.to_owned(), source })?;
        let mut config = Self {
            current_context: file.current_context,
            clusters: file.clusters.into_iter().map(|c| (c.name, c.cluster)).collect(),
            users: file.users.into_iter().map(|u| (u.name, u.user)).collect(),
            contexts: file.contexts.into_iter().map(|c| (c.name, c.context)).collect(),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let clusters = config.clusters.iter_mut().filter_map(|(_, c)| c.certificate_authority.as_mut());
        let users = config
            .users
            .iter_mut()
            .flat_map(|(_, u)| [&mut u.client_certificate, &mut u.client_key, &mut u.token_file].into_iter().flatten());
        for relative in clusters.chain(users) {
            *relative = folder.join(&*relative);
        }
        Ok(config)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what `other` has and this has not: the first file to name something wins.
    fn merge(&mut self, other: Self) {
        if self.current_context.is_empty() {
            self.current_context = other.current_context;
        }
        add_missing(&mut self.clusters, other.clusters);
        add_missing(&mut self.users, other.users);
        add_missing(&mut self.contexts, other.contexts);
    }

    /// One context, with what the caller chose instead, and all files read.
    pub fn resolve(&self, choice: &Choice) -> Result<Config, ConfigError> {
        let name = choice.context.as_ref().unwrap_or(&self.current_context);
        let context = match find(&self.contexts, name) {
            Some(context) => context.clone(),
            None if choice.context.is_none() && (name.is_empty() || choice.server.is_some()) => Context::default(),
            None => return Err(ConfigError::Missing { what: "context", name: name.clone() }),
        };
        let cluster_name = choice.cluster.as_ref().unwrap_or(&context.cluster);
        let cluster = match find(&self.clusters, cluster_name) {
            Some(cluster) => cluster.clone(),
            None if choice.server.is_some() => Cluster::default(),
            None if cluster_name.is_empty() => return Err(ConfigError::Empty),
            None => return Err(ConfigError::Missing { what: "cluster", name: cluster_name.clone() }),
        };
        let user_name = choice.user.as_ref().unwrap_or(&context.user);
        let user = match find(&self.users, user_name) {
            Some(user) => user.clone(),
            None if user_name.is_empty() => User::default(),
            None => return Err(ConfigError::Missing { what: "auth info", name: user_name.clone() }),
        };
        let namespace = choice.namespace.clone().unwrap_or(context.namespace);
        assemble(cluster, user, namespace, choice)
    }
}

fn assemble(cluster: Cluster, user: User, namespace: String, choice: &Choice) -> Result<Config, ConfigError> {
    let chain = pem("client-certificate", user.client_certificate, user.client_certificate_data)?;
    let key = pem("client-key", user.client_key, user.client_key_data)?;
    let own_impersonation = user.as_user.map(|name| Impersonate {
        user: name,
        uid: user.as_uid.unwrap_or_default(),
        groups: user.as_groups,
    });
    let token = choice.token.clone().or(user.token).filter(|t| !t.is_empty());
    let auth = match (token, user.token_file, user.username, user.exec) {
        (Some(token), ..) => Auth::Token(token),
        (_, Some(path), ..) => Auth::TokenFile(path),
        (_, _, Some(username), _) => Auth::Basic { username, password: user.password.unwrap_or_default() },
        (_, _, _, Some(_)) => {
            let problem = "credential plugins are not supported; use a token or a client certificate".to_owned();
            return Err(ConfigError::Invalid { field: "exec", problem });
        }
        _ => Auth::None,
    };
    Ok(Config {
        server: choice.server.clone().unwrap_or(cluster.server),
        namespace,
        certificate_authority: pem(
            "certificate-authority",
            cluster.certificate_authority,
            cluster.certificate_authority_data,
        )?,
        client_certificate: chain.zip(key),
        auth,
        insecure_skip_tls_verify: choice.insecure_skip_tls_verify || cluster.insecure_skip_tls_verify,
        tls_server_name: cluster.tls_server_name,
        impersonate: choice.impersonate.clone().or(own_impersonation),
    })
}

/// Data wins over a file, as in upstream.
fn pem(field: &'static str, file: Option<PathBuf>, data: Option<String>) -> Result<Option<Vec<u8>>, ConfigError> {
    if let Some(data) = data.filter(|d| !d.is_empty()) {
        let compact: String = data.split_ascii_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(compact);
        return decoded.map(Some).map_err(|e| ConfigError::Invalid { field, problem: e.to_string() });
    }
    let Some(path) = file.filter(|f| !f.as_os_str().is_empty()) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

fn find<'a, T>(list: &'a [(String, T)], name: &str) -> Option<&'a T> {
    list.iter().find(|(known, _)| known == name).map(|(_, item)| item)
}

fn add_missing<T>(list: &mut Vec<(String, T)>, more: Vec<(String, T)>) {
    for (name, item) in more {
        if find(list, &name).is_none() {
            list.push((name, item));
        }
    }
}

/// `clusters: null` is how kubectl writes an empty list.
fn without_nulls(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, member| !member.is_null());
        for member in map.values_mut() {
            *member = without_nulls(member.take());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: v1
kind: Config
current-context: a
preferences: null
clusters:
- {name: c, cluster: {server: 'https://h:6443', certificate-authority-data: Y2E=, tls-server-name: x}}
- {name: d, cluster: {server: 'https://d', insecure-skip-tls-verify: true, certificate-authority: ca.pem}}
contexts:
- {name: a, context: {cluster: c, user: u, namespace: ns}}
- {name: b, context: {cluster: d, user: t}}
- {name: broken, context: {cluster: none, user: t}}
users:
- {name: u, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}
- {name: t, user: {token: secret, as: somebody, as-groups: [g]}}
";

    fn written() -> (tempfile::TempDir, Kubeconfig) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config"), TEXT).unwrap();
        std::fs::write(folder.path().join("ca.pem"), "pem").unwrap();
        let config = Kubeconfig::read(&folder.path().join("config")).unwrap();
        (folder, config)
    }

    #[test]
    fn contexts_resolve() {
        let (_folder, kubeconfig) = written();
        let a = kubeconfig.resolve(&Choice::default()).unwrap();
        assert_eq!((a.server.as_str(), a.namespace.as_str()), ("https://h:6443", "ns"));
        assert_eq!(a.certificate_authority.as_deref(), Some(&b"ca"[..]));
        assert_eq!(a.client_certificate, Some((b"cert".to_vec(), b"key".to_vec())));
        let choice = Choice { context: Some("b".into()), namespace: Some("m".into()), ..Choice::default() };
        let b = kubeconfig.resolve(&choice).unwrap();
        assert_eq!(b.auth, Auth::Token("secret".into()));
        assert_eq!(b.certificate_authority.as_deref(), Some(&b"pem"[..]));
        assert_eq!((b.namespace.as_str(), b.insecure_skip_tls_verify), ("m", true));
        assert_eq!(b.impersonate.unwrap().groups, ["g"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_folder, kubeconfig) = written();
        let resolve = |context: &str| {
            let choice = Choice { context: Some(context.into()), ..Choice::default() };
            kubeconfig.resolve(&choice).unwrap_err().to_string()
        };
        assert_eq!(resolve("x"), "context \"x\" does not exist");
        assert_eq!(resolve("broken"), "cluster \"none\" does not exist");
    }

    #[test]
    fn the_first_file_to_name_something_wins() {
        let (_folder, mut kubeconfig) = written();
        let other = Kubeconfig {
            current_context: "z".into(),
            clusters: vec![("c".into(), Cluster::default()), ("e".into(), Cluster::default())],
            ..Kubeconfig::default()
        };
        kubeconfig.merge(other);
        assert_eq!(kubeconfig.current_context, "a");
        assert_eq!(kubeconfig.clusters.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["c", "d", "e"]);
        assert_eq!(kubeconfig.clusters[0].1.server, "https://h:6443");
    }
}
