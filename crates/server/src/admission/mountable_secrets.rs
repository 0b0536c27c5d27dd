//! Which secrets a pod names, and whether its account allows them: the part of the ServiceAccount
//! plugin that is off unless an account asks for it.

use orlop_api::Value;

use super::Attributes;

fn items<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object[field].as_array().into_iter().flatten()
}

fn name(reference: &Value) -> Option<&str> {
    reference["name"].as_str().filter(|name| !name.is_empty())
}

/// Secrets that one container's environment names: as variables, then as whole sets.
fn of_container(container: &Value) -> impl Iterator<Item = (Option<&str>, &str)> {
    let variables = items(container, "env")
        .filter_map(|env| Some((env["name"].as_str(), name(&env["valueFrom"]["secretKeyRef"])?)));
    let sets = items(container, "envFrom").filter_map(|from| Some((None, name(&from["secretRef"])?)));
    variables.chain(sets)
}

const CONTAINERS: [(&str, &str); 3] =
    [("initContainers", "init container"), ("containers", "container"), ("ephemeralContainers", "ephemeral container")];

/// Every secret a pod refers to, wherever (`podutil.VisitPodSecretNames`).
pub fn of_pod(pod: &Value) -> Vec<&str> {
    let spec = &pod["spec"];
    let mut found: Vec<&str> = items(spec, "imagePullSecrets").filter_map(name).collect();
    for (list, _) in CONTAINERS {
        found.extend(items(spec, list).flat_map(of_container).map(|(_, secret)| secret));
    }
    for volume in items(spec, "volumes") {
        found.extend(volume["secret"]["secretName"].as_str());
        found.extend(items(&volume["projected"], "sources").filter_map(|source| name(&source["secret"])));
        for kind in ["azureFile", "cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos", "csi"] {
            let source = &volume[kind];
            let direct = source["secretName"].as_str();
            found.extend(
                direct.or_else(|| name(&source["secretRef"])).or_else(|| name(&source["nodePublishSecretRef"])),
            );
        }
    }
    found
}

/// Says which reference the account does not allow.
pub fn check(a: &Attributes, account: &Value) -> Result<(), String> {
    let account_name = account["metadata"]["name"].as_str().unwrap_or_default();
    let mountable: Vec<&str> = items(account, "secrets").filter_map(name).collect();
    let spec = &a.object["spec"];
    if a.subresource == "ephemeralcontainers" {
        return check_containers(spec, &CONTAINERS[2..], &mountable, account_name);
    }
    for secret in items(spec, "volumes").filter_map(|volume| volume["secret"]["secretName"].as_str()) {
        if !mountable.contains(&secret) {
            return Err(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {account_name} does not \
                 reference that secret"
            ));
        }
    }
    check_containers(spec, &CONTAINERS[..2], &mountable, account_name)?;
    let pullable: Vec<&str> = items(account, "imagePullSecrets").filter_map(name).collect();
    for (i, secret) in items(spec, "imagePullSecrets").filter_map(name).enumerate() {
        if !pullable.contains(&secret) {
            return Err(format!(
                "imagePullSecrets[{i}].name=\"{secret}\" is not allowed because service account {account_name} does not \
                 reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

fn check_containers(spec: &Value, lists: &[(&str, &str)], mountable: &[&str], account: &str) -> Result<(), String> {
    for (list, what) in lists {
        for container in items(spec, list) {
            let refused = of_container(container).find(|(_, secret)| !mountable.contains(secret));
            if let Some((variable, secret)) = refused {
                let container = container["name"].as_str().unwrap_or_default();
                let place = variable.map_or("envFrom".to_owned(), |variable| format!("envVar {variable}"));
                return Err(format!(
                    "{what} {container} with {place} referencing secret.secretName=\"{secret}\" is not allowed because \
                     service account {account} does not reference that secret"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_secrets_everywhere() {
        let pod = json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env"}}}],
                            "envFrom": [{"secretRef": {"name": "from"}}]}],
            "volumes": [{"secret": {"secretName": "volume"}}, {"projected": {"sources": [{"secret": {"name": "projected"}}]}}],
        }});
        assert_eq!(of_pod(&pod), ["pull", "env", "from", "volume", "projected"]);
        assert_eq!(
            check_containers(&pod["spec"], &CONTAINERS[1..2], &["from"], "sa").unwrap_err(),
            "container  with envVar E referencing secret.secretName=\"env\" is not allowed because service account sa does \
             not reference that secret"
        );
    }
}
