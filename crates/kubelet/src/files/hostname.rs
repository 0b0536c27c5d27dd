//! What a pod calls itself.

use crate::pod::spec::NodePod;

/// The kernel takes 64 bytes, the last of them NUL.
const MAX_HOSTNAME: usize = 63;

/// Host name and domain; the domain is empty without a subdomain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    pub hostname: String,
    pub domain: String,
}

pub fn pod_name(pod: &NodePod, cluster_domain: &str) -> Result<PodName, String> {
    let spec = pod.spec();
    if let Some(name) = &spec.hostname_override {
        return Ok(PodName { hostname: shortened(pod, name)?, domain: String::new() });
    }
    let own = spec.hostname.as_deref().filter(|name| !name.is_empty());
    let hostname = shortened(pod, own.unwrap_or(pod.name()))?;
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty());
    let domain = subdomain.map(|sub| format!("{sub}.{}.svc.{cluster_domain}", pod.namespace()));
    Ok(PodName { hostname, domain: domain.unwrap_or_default() })
}

/// What `hostname` prints inside (`setHostnameAsFQDN`).
pub fn kernel_name(pod: &NodePod, name: &PodName) -> Result<String, String> {
    if pod.spec().set_hostname_as_fqdn != Some(true) || name.domain.is_empty() {
        return Ok(name.hostname.clone());
    }
    let fqdn = format!("{}.{}", name.hostname, name.domain);
    if fqdn.len() > MAX_HOSTNAME + 1 {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long (64 characters is the max, {} characters requested)",
            fqdn.len()
        ));
    }
    Ok(fqdn)
}

fn shortened(pod: &NodePod, name: &str) -> Result<String, String> {
    if name.len() <= MAX_HOSTNAME {
        return Ok(name.to_owned());
    }
    let cut = name.get(..MAX_HOSTNAME).unwrap_or_default().trim_end_matches(['-', '.']);
    if cut.is_empty() {
        return Err(format!("hostname for pod {:?} was invalid: {name:?}", pod.name()));
    }
    Ok(cut.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn names() {
        let long = format!("{}-{}", "a".repeat(62), "b".repeat(10));
        for (spec, hostname, domain, kernel) in [
            (json!({}), "p", "", "p"),
            (json!({"hostname": "h", "subdomain": "s"}), "h", "s.default.svc.cluster.local", "h"),
            (
                json!({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}),
                "h",
                "s.default.svc.cluster.local",
                "h.s.default.svc.cluster.local",
            ),
            (json!({"hostname": long}), &"a".repeat(62), "", &"a".repeat(62)),
        ] {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod = pod(spec);
            let name = pod_name(&pod, "cluster.local").unwrap();
            assert_eq!((name.hostname.as_str(), name.domain.as_str()), (hostname, domain));
            assert_eq!(kernel_name(&pod, &name).unwrap(), kernel);
        }
    }
}
