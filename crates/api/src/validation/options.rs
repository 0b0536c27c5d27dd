//! What a changed pod may keep because it was so before a rule came (`pkg/api/pod`, validation options).

use serde_json::Value;

use super::containers::each_container;
use super::prelude::*;
use super::scheduling::match_label_keys;
use super::security::host_sysctl;
use super::selector::{has_bad_values, label_selector};
use crate::kinds::read::annotation;

/// Rules that are off. The default, for new pods, turns none off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The spec is a pod's, not a template's.
    pub is_pod: bool,
    pub allow_bad_deletion_cost: bool,
    pub allow_indivisible_huge_pages: bool,
    pub allow_bad_affinity_selectors: bool,
    pub allow_bad_node_affinity: bool,
    pub allow_bad_spread_selectors: bool,
    pub legacy_match_label_keys: bool,
    pub allow_non_local_token_path: bool,
    pub allow_host_sysctls: bool,
    pub allow_init_restart_on_resize: bool,
    pub allow_host_network_without_host_users: bool,
    pub allow_devices_without_host_users: bool,
    pub allow_empty_image_reference: bool,
    pub allow_sys_admin: bool,
    pub allow_comparison_operators: bool,
}

impl Options {
    /// For a new pod.
    pub(crate) fn of_new_pod() -> Self {
        Self { is_pod: true, ..Self::default() }
    }

    /// For a pod or template that was `old`.
    pub(crate) fn of_changed(old: &Value, is_pod: bool) -> Self {
        let spec = &old["spec"];
        if !spec.is_object() {
            return Self { is_pod, ..Self::default() };
        }
        let without_host_users = spec["hostUsers"] == false;
        let mut options = Self {
            is_pod,
            allow_bad_deletion_cost: deletion_cost_error(old),
            allow_bad_affinity_selectors: affinity_terms(spec)
                .any(|term| has_bad_values(&term["labelSelector"]) || has_bad_values(&term["namespaceSelector"])),
            allow_bad_node_affinity: has_bad_node_affinity(spec),
            allow_bad_spread_selectors: any_constraint(spec, |constraint, errors| {
                label_selector(&constraint["labelSelector"], false, &Path::default(), errors);
            }),
            legacy_match_label_keys: any_constraint(spec, |constraint, errors| {
                match_label_keys(constraint, &Path::default(), errors);
            }),
            allow_non_local_token_path: has_bad_token_path(spec),
            allow_host_sysctls: spec
                .list("securityContext.sysctls")
                .iter()
                .any(|sysctl| host_sysctl(spec, sysctl.text("name")).is_some()),
            allow_init_restart_on_resize: spec.list("initContainers").iter().any(|container| {
                container.text("restartPolicy") != "Always"
                    && container.list("resizePolicy").iter().any(|p| p.text("restartPolicy") == "RestartContainer")
            }),
            allow_host_network_without_host_users: without_host_users && spec.flag("hostNetwork"),
            allow_empty_image_reference: spec
                .list("volumes")
                .iter()
                .any(|volume| volume.has("image") && volume.text("image.reference").is_empty()),
            allow_comparison_operators: spec
                .list("tolerations")
                .iter()
                .any(|toleration| matches!(toleration.text("operator"), "Lt" | "Gt")),
            ..Self::default()
        };
        each_container(spec, &Path::default(), |container, _| options.look_at(container, without_host_users));
        options
    }

    fn look_at(&mut self, container: &Value, without_host_users: bool) {
        self.allow_devices_without_host_users |= without_host_users && !container.list("volumeDevices").is_empty();
        self.allow_sys_admin |= container.at("securityContext.allowPrivilegeEscalation") == false
            && texts(container, "securityContext.capabilities.add").any(|name| name == "CAP_SYS_ADMIN");
        let amounts = ["resources.limits", "resources.requests"].into_iter().flat_map(|field| container.map(field));
        let mut amounts = amounts.filter(|(name, _)| super::resources::is_huge_pages(name));
        self.allow_indivisible_huge_pages |= amounts.any(|(name, amount)| !super::resources::divides(name, amount));
    }
}

pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Whether the cost of deleting a pod is no 32-bit number as Kubernetes writes it.
pub(crate) fn deletion_cost_error(obj: &Value) -> bool {
    let text = annotation(obj, DELETION_COST);
    let present = obj["metadata"]["annotations"].get(DELETION_COST).is_some();
    let digits = text.strip_prefix('-').unwrap_or(text);
    present && (digits.len() > 1 && digits.starts_with('0') || text.starts_with('+') || text.parse::<i32>().is_err())
}

fn any_constraint(spec: &Value, check: impl Fn(&Value, &mut ErrorList)) -> bool {
    let mut errors = ErrorList::default();
    spec.list("topologySpreadConstraints").iter().for_each(|constraint| check(constraint, &mut errors));
    !errors.is_empty()
}

fn affinity_terms(spec: &Value) -> impl Iterator<Item = &Value> {
    ["affinity.podAffinity", "affinity.podAntiAffinity"].into_iter().flat_map(|field| {
        let affinity = spec.at(field);
        let preferred = affinity.list("preferredDuringSchedulingIgnoredDuringExecution");
        let required = affinity.list("requiredDuringSchedulingIgnoredDuringExecution");
        required.iter().chain(preferred.iter().map(|term| &term["podAffinityTerm"]))
    })
}

fn has_bad_node_affinity(spec: &Value) -> bool {
    let terms = spec.list("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    terms.iter().any(has_bad_values)
}

fn has_bad_token_path(spec: &Value) -> bool {
    let mut errors = ErrorList::default();
    for source in spec.list("volumes").iter().flat_map(|volume| volume.list("projected.sources")) {
        non_reserved_path(source.text("serviceAccountToken.path"), &Path::default(), &mut errors);
    }
    !errors.is_empty()
}
