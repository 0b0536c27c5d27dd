//! AppArmor profiles said by annotations, as before 1.30, become fields (`applyAppArmorVersionSkew`; KEP 24).

use crate::kinds::prelude::*;
use crate::kinds::prepare::{list_mut, set};
use crate::validation::security::is_app_armor_profile;

const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const CONTAINERS: [&str; 3] = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];

/// What a container's annotation comes to.
enum Said {
    Nothing,
    /// The profile of the pod.
    Same,
    Other(Value),
    /// No profile at all.
    Wrong,
}

/// Gives every container the profile that only its annotation names.
pub fn sync(pod: &mut Value) {
    if pod.map("metadata.annotations").is_empty() {
        return;
    }
    for path in CONTAINERS {
        for i in 0..pod.list(path).len() {
            if let Said::Other(profile) = said(pod, &pod.list(path)[i]) {
                set(&mut list_mut(pod, path)[i], "securityContext.appArmorProfile", profile);
            }
        }
    }
}

/// Of the pod as it was sent.
pub fn warnings(pod: &Value) -> Vec<String> {
    let containers = CONTAINERS.iter().flat_map(|path| pod.list(path));
    let old = containers.filter(|container| matches!(said(pod, container), Said::Other(_) | Said::Wrong));
    old.map(|container| {
        let key = format!("{ANNOTATION}{}", container.text("name"));
        format!("metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead")
    })
    .collect()
}

fn said(pod: &Value, container: &Value) -> Said {
    let key = format!("{ANNOTATION}{}", container.text("name"));
    let Some(text) = pod.map("metadata.annotations").get(&key).and_then(Value::as_str) else { return Said::Nothing };
    if pod.text("spec.os.name") == "windows" || container.has("securityContext.appArmorProfile") {
        return Said::Nothing;
    }
    match profile(text) {
        Some(profile) if profile == *pod.at("spec.securityContext.appArmorProfile") => Said::Same,
        Some(profile) if is_app_armor_profile(&profile) => Said::Other(profile),
        _ => Said::Wrong,
    }
}

fn profile(text: &str) -> Option<Value> {
    match (text, text.strip_prefix("localhost/")) {
        ("unconfined", _) => Some(json!({ "type": "Unconfined" })),
        ("runtime/default", _) => Some(json!({ "type": "RuntimeDefault" })),
        (_, Some(file)) if !file.is_empty() => Some(json!({ "type": "Localhost", "localhostProfile": file })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_fields_and_warn() {
        let with = |text: &str| {
            let mut pod = json!({
                "metadata": { "annotations": { format!("{ANNOTATION}c"): text } },
                "spec": {
                    "securityContext": { "appArmorProfile": { "type": "RuntimeDefault" } },
                    "containers": [{ "name": "c" }, { "name": "d" }],
                },
            });
            let warned = warnings(&pod).len();
            sync(&mut pod);
            (pod.at("spec.containers")[0].at("securityContext.appArmorProfile").clone(), warned)
        };
        assert_eq!(with("runtime/default"), (Value::Null, 0));
        assert_eq!(with("unconfined"), (json!({ "type": "Unconfined" }), 1));
        assert_eq!(with("localhost/x"), (json!({ "type": "Localhost", "localhostProfile": "x" }), 1));
        assert_eq!(with("bad"), (Value::Null, 1));
    }
}
