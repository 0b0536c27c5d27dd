//! The administrator's kubeconfig: our own file, and on request the user's.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orlop_api::codec::yaml;
use serde_json::{Map, Value, json};

use super::{PkiError, files};

/// What a kubeconfig says of one cluster and one user.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// Names the cluster; user and context derive from it.
    pub cluster: &'a str,
    pub user: &'a str,
    /// `https://127.0.0.1:6443`.
    pub server: &'a str,
    pub ca_pem: &'a str,
    pub certificate_pem: &'a str,
    pub key_pem: &'a str,
}

impl Access<'_> {
    fn context(&self) -> String {
        format!("{}@{}", self.user, self.cluster)
    }

    /// Names in the merged file must not meet another cluster's: two clusters may both have a
    /// `kubernetes-admin`.
    fn entries(&self, user_name: &str) -> [(&'static str, Value); 3] {
        let data = |text: &str| STANDARD.encode(text);
        let cluster = json!({ "certificate-authority-data": data(self.ca_pem), "server": self.server });
        let user = json!({
            "client-certificate-data": data(self.certificate_pem), "client-key-data": data(self.key_pem),
        });
        let context = json!({ "cluster": self.cluster, "user": user_name });
        [
            ("clusters", json!({ "name": self.cluster, "cluster": cluster })),
            ("users", json!({ "name": user_name, "user": user })),
            ("contexts", json!({ "name": self.context(), "context": context })),
        ]
    }

    /// The whole file for this access alone.
    pub fn to_yaml(&self) -> String {
        let mut config = json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": self.context(),
        });
        for (list, entry) in self.entries(self.user) {
            config[list] = json!([entry]);
        }
        yaml::to_yaml(&config)
    }

    /// Writes our own file, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<(), PkiError> {
        files::write(path, self.to_yaml().as_bytes(), files::PRIVATE)
    }

    /// Adds this access to the user's file and makes it the current one. All other entries stay.
    /// A file that cannot be understood is left as it is.
    pub fn merge_into(&self, path: &Path) -> Result<(), PkiError> {
        let old = files::read(path)?.unwrap_or_default();
        let wrong = |reason: String| PkiError::Content { path: path.to_owned(), expected: "a kubeconfig", reason };
        let merged = self.merged(&old).map_err(wrong)?;
        if let Some(dir) = path.parent() {
            files::make_private_dir(dir)?;
        }
        // ~/.kube/config is often a link into a dotfiles directory: write through it.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        files::write(&target, merged.as_bytes(), files::PRIVATE)
    }

    fn merged(&self, old: &str) -> Result<String, String> {
        let mut config = if old.trim().is_empty() {
            json!({ "apiVersion": "v1", "kind": "Config", "preferences": {} })
        } else {
            yaml::from_yaml(old.as_bytes()).map_err(|error| error.to_string())?
        };
        let map = config.as_object_mut().ok_or("its top level is not a mapping")?;
        if map.get("kind").is_some_and(|kind| kind != "Config") {
            return Err(format!("its kind is {}", map["kind"]));
        }
        for (list, entry) in self.entries(&self.context()) {
            upsert(map, list, entry)?;
        }
        map.insert("current-context".into(), self.context().into());
        Ok(yaml::to_yaml(&config))
    }
}

/// Replaces the entry of the same name, or appends.
fn upsert(config: &mut Map<String, Value>, list: &str, entry: Value) -> Result<(), String> {
    let slot = config.entry(list).or_insert(Value::Null);
    if slot.is_null() {
        *slot = json!([]);
    }
    let entries = slot.as_array_mut().ok_or_else(|| format!("its {list} are not a list"))?;
    match entries.iter_mut().find(|old| old["name"] == entry["name"]) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access<'static> = Access {
        cluster: "orlop",
        user: "kubernetes-admin",
        server: "https://127.0.0.1:6443",
        ca_pem: "ca",
        certificate_pem: "cert",
        key_pem: "key",
    };

    fn names(config: &Value, list: &str) -> Vec<String> {
        let entries = config[list].as_array().expect("a list");
        entries.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
    }

    #[test]
    fn merging_keeps_what_others_wrote_and_is_idempotent() {
        let old = "\
apiVersion: v1
kind: Config
clusters:
- {name: work, cluster: {server: https://work}}
users:
- {name: kubernetes-admin, user: {token: theirs}}
contexts: null
current-context: work
extensions: [{name: x, extension: 1}]
";
        let once = ACCESS.merged(old).expect("merged");
        assert_eq!(ACCESS.merged(&once).expect("merged again"), once);
        let config = yaml::from_yaml(once.as_bytes()).expect("yaml");
        assert_eq!(names(&config, "clusters"), ["work", "orlop"]);
        assert_eq!(names(&config, "users"), ["kubernetes-admin", "kubernetes-admin@orlop"]);
        assert_eq!(config["users"][0]["user"]["token"], "theirs");
        assert_eq!(names(&config, "contexts"), ["kubernetes-admin@orlop"]);
        assert_eq!(config["contexts"][0]["context"]["user"], "kubernetes-admin@orlop");
        assert_eq!(config["current-context"], "kubernetes-admin@orlop");
        assert_eq!(config["extensions"][0]["name"], "x");
    }

    #[test]
    fn what_is_not_a_kubeconfig_is_not_touched() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("config");
        for text in ["{", "- a\n", "kind: Pod\n", "clusters: {a: b}\n"] {
            std::fs::write(&path, text).expect("write");
            assert!(ACCESS.merge_into(&path).is_err(), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
    }

    #[test]
    fn our_own_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("admin.kubeconfig");
        ACCESS.write(&path).expect("written");
        let mode = std::fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let config = yaml::from_yaml(&std::fs::read(&path).expect("read")).expect("yaml");
        assert_eq!(names(&config, "users"), ["kubernetes-admin"]);
    }
}
