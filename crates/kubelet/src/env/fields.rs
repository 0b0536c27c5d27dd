//! The downward API: fields of the pod and resources of its containers as text
//! (`pkg/fieldpath`, `pkg/api/v1/resource`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::EnvInput;
use crate::corev1::{Container, ResourceFieldSelector};
use crate::pod::spec::NodePod;
use crate::resources::requests::has_pod_level;
use crate::resources::{Amount, CPU, EPHEMERAL_STORAGE, HUGEPAGES_PREFIX, MEMORY, ResourceList};

/// What `fieldRef` can see.
pub struct FieldView<'a> {
    pub pod: &'a NodePod,
    pub host_ips: &'a [IpAddr],
    pub pod_ips: &'a [IpAddr],
}

impl<'a> FieldView<'a> {
    pub fn of(input: &EnvInput<'a>) -> Self {
        Self { pod: input.pod, host_ips: input.host_ips, pod_ips: input.pod_ips }
    }

    pub fn value(&self, path: &str) -> Result<String, String> {
        if let Some((map, key)) = subscript(path) {
            return self.subscripted(path, map, key);
        }
        let metadata = &self.pod.object.metadata;
        Ok(match path {
            "metadata.name" => self.pod.name().to_owned(),
            "metadata.namespace" => self.pod.namespace().to_owned(),
            "metadata.uid" => self.pod.uid().to_owned(),
            "metadata.labels" => format_map(metadata.labels.as_ref()),
            "metadata.annotations" => format_map(metadata.annotations.as_ref()),
            "spec.nodeName" => self.pod.spec().node_name.clone().unwrap_or_default(),
            "spec.serviceAccountName" => self.pod.spec().service_account_name.clone().unwrap_or_default(),
            "status.hostIP" => first(self.host_ips),
            "status.hostIPs" => joined(self.host_ips),
            "status.podIP" => first(self.pod_ips),
            "status.podIPs" => joined(self.pod_ips),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        })
    }

    fn subscripted(&self, path: &str, map: &str, key: &str) -> Result<String, String> {
        let metadata = &self.pod.object.metadata;
        let map = match map {
            "metadata.annotations" => metadata.annotations.as_ref(),
            "metadata.labels" => metadata.labels.as_ref(),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default())
    }
}

/// `metadata.labels['key']` as path and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(map, _)| !map.is_empty())
}

/// One `key="value"` per line, sorted.
pub fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", go_quote(v))).collect();
    lines.join("\n")
}

/// `strconv.Quote`.
fn go_quote(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `resourceFieldRef`: a limit that is not set is what the node can allocate.
pub fn resource(
    pod: &NodePod,
    container: &Container,
    selector: &ResourceFieldSelector,
    allocatable: &ResourceList,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        None => container,
        Some(name) => pod
            .init_containers()
            .iter()
            .chain(pod.main_containers())
            .find(|c| c.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
    };
    let unsupported = || format!("unsupported container resource : {}", selector.resource);
    let (side, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    if ![CPU, MEMORY, EPHEMERAL_STORAGE].contains(&name) && !name.starts_with(HUGEPAGES_PREFIX) {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let amount = match side {
        "requests" => Amount::of(resources.and_then(|r| r.requests.as_ref()), name),
        "limits" => limit(pod, resources.and_then(|r| r.limits.as_ref()), name, allocatable),
        _ => return Err(unsupported()),
    };
    let divisor = selector.divisor.as_ref().and_then(|d| Amount::parse(&d.0)).filter(|d| !d.is_zero());
    Ok(divided(&amount, &divisor.unwrap_or(Amount::units(1)), name).to_string())
}

fn limit(pod: &NodePod, limits: Option<&ResourceList>, name: &str, allocatable: &ResourceList) -> Amount {
    let own = Amount::of(limits, name);
    if !own.is_zero() || name.starts_with(HUGEPAGES_PREFIX) {
        return own;
    }
    let pod_level = pod.spec().resources.as_ref().and_then(|r| r.limits.as_ref());
    match Amount::find(pod_level, name).filter(|_| has_pod_level(pod.spec())) {
        Some(amount) if !amount.is_zero() => amount,
        _ => Amount::of(Some(allocatable), name),
    }
}

/// Rounded up; CPU counts in thousandths, the rest in units.
fn divided(amount: &Amount, divisor: &Amount, name: &str) -> i64 {
    let (amount, divisor) =
        if name == CPU { (amount.milli_value(), divisor.milli_value()) } else { (amount.value(), divisor.value()) };
    let divisor = divisor.max(1);
    amount / divisor + i64::from(amount % divisor > 0)
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(ToString::to_string).unwrap_or_default()
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;

    use super::*;
    use crate::testing::{pod, pod_from};

    #[test]
    fn fields() {
        let pod = pod_from(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": "x\n\"y\""},
                         "annotations": {"example.com/k": "v"}},
            "spec": {"containers": [], "serviceAccountName": "sa"},
        }));
        let ips = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let view = FieldView { pod: &pod, host_ips: &ips[..1], pod_ips: &ips };
        for (path, value) in [
            ("metadata.labels", "a=\"x\\n\\\"y\\\"\"\nb=\"2\""),
            ("metadata.labels['b']", "2"),
            ("metadata.annotations['example.com/k']", "v"),
            ("spec.serviceAccountName", "sa"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
            ("status.hostIP", "10.0.0.1"),
        ] {
            assert_eq!(view.value(path).unwrap(), value, "{path}");
        }
        assert_eq!(view.value("spec.foo").unwrap_err(), "unsupported fieldPath: spec.foo");
    }

    #[test]
    fn resources_divide_and_round_up() {
        let pod = pod(json!({"containers": [{"name": "a", "resources":
            {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "1000"}}}]}));
        let allocatable: ResourceList = [("cpu".to_owned(), Quantity("2".into()))].into();
        for (name, divisor, value) in [
            ("limits.memory", "1Mi", "64"),
            ("limits.memory", "0", "67108864"),
            ("requests.cpu", "1", "1"),
            ("requests.cpu", "1m", "250"),
            ("requests.memory", "1Ki", "1"),
            ("limits.cpu", "1", "2"),
        ] {
            let selector = ResourceFieldSelector {
                resource: name.into(),
                divisor: Some(Quantity(divisor.into())),
                container_name: None,
            };
            let got = resource(&pod, &pod.main_containers()[0], &selector, &allocatable);
            assert_eq!(got.unwrap(), value, "{name} {divisor}");
        }
    }
}
