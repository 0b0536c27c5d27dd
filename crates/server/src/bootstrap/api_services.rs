//! An APIService for every version of a group that this process serves itself, so that `kubectl get apiservices` lists
//! them all (`pkg/controlplane/apiserver/aggregator.go`).

use serde_json::json;

use super::objects::{Keep, Wanted};

/// Group, its priority among groups, version, its priority within the group.
const PRIORITIES: [(&str, u32, &str, u32); 22] = [
    ("", 18000, "v1", 1),
    ("apps", 17800, "v1", 15),
    ("events.k8s.io", 17750, "v1", 15),
    ("authentication.k8s.io", 17700, "v1", 15),
    ("authorization.k8s.io", 17600, "v1", 15),
    ("autoscaling", 17500, "v2", 30),
    ("autoscaling", 17500, "v1", 15),
    ("batch", 17400, "v1", 15),
    ("certificates.k8s.io", 17300, "v1", 15),
    ("networking.k8s.io", 17200, "v1", 15),
    ("policy", 17100, "v1", 15),
    ("rbac.authorization.k8s.io", 17000, "v1", 15),
    ("storage.k8s.io", 16800, "v1", 15),
    ("apiextensions.k8s.io", 16700, "v1", 15),
    ("admissionregistration.k8s.io", 16700, "v1", 15),
    ("scheduling.k8s.io", 16600, "v1", 15),
    ("coordination.k8s.io", 16500, "v1", 15),
    ("node.k8s.io", 16300, "v1", 15),
    ("discovery.k8s.io", 16200, "v1", 15),
    ("resource.k8s.io", 16200, "v1", 21),
    ("flowcontrol.apiserver.k8s.io", 16100, "v1", 21),
    ("storagemigration.k8s.io", 15800, "v1", 15),
];

/// Made at start; what becomes of them then is the administrator's affair.
pub fn all() -> Vec<Wanted> {
    let wanted = |(group, group_priority, version, version_priority): &(&str, u32, &str, u32)| Wanted {
        group: "apiregistration.k8s.io",
        plural: "apiservices",
        namespace: "",
        object: json!({
            "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {
                "name": format!("{version}.{group}"),
                "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            },
            "spec": {
                "group": group, "version": version,
                "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
            },
        }),
        keep: Keep::Existence,
    };
    PRIORITIES.iter().map(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_and_version_has_one() {
        let mut listed: Vec<String> = all().iter().map(|wanted| wanted.name().to_owned()).collect();
        let kinds = orlop_api::kinds::all().iter().map(|kind| kind.info());
        let served = kinds.flat_map(|info| info.versions.iter().map(|version| format!("{version}.{}", info.group)));
        let mut served: Vec<String> = served.filter(|name| name != "v1.apiregistration.k8s.io").collect();
        listed.sort();
        served.sort();
        served.dedup();
        assert_eq!(listed, served);
    }
}
