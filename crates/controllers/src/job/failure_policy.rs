//! `podFailurePolicy`: what a pod's failure means (KEP-3329).

use orlop_api::typed::Typed;
use orlop_api::typed::k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use orlop_api::typed::k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use orlop_api::typed::kinds::Pod;

/// What the first matching rule says.
pub struct Verdict {
    /// Why the whole Job fails.
    pub job_message: Option<String>,
    /// Towards `backoffLimit`.
    pub counts: bool,
    pub fails_index: bool,
}

pub fn verdict(policy: &PodFailurePolicy, pod: &Pod) -> Verdict {
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    for (index, rule) in policy.rules.iter().enumerate() {
        let Some(what) = matched(rule, status, pod) else { continue };
        let message = format!("{what} matching {} rule at index {index}", rule.action);
        return Verdict {
            job_message: (rule.action == "FailJob").then_some(message),
            counts: rule.action != "Ignore",
            fails_index: rule.action == "FailIndex",
        };
    }
    Verdict { job_message: None, counts: true, fails_index: false }
}

/// What the rule matches, in words.
fn matched(rule: &PodFailurePolicyRule, status: &PodStatus, pod: &Pod) -> Option<String> {
    let (namespace, name) = (Typed::namespace(pod), Typed::name(pod));
    if let Some(requirement) = &rule.on_exit_codes {
        let containers = [&status.container_statuses, &status.init_container_statuses];
        let (container, code) = containers.into_iter().flatten().flatten().find_map(|c| exit_code(c, requirement))?;
        return Some(format!("Container {container} for pod {namespace}/{name} failed with exit code {code}"));
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let matches = |kind: &str, status: &str| {
        patterns.iter().any(|p| p.type_ == kind && p.status.as_deref().unwrap_or("True") == status)
    };
    let found = status.conditions.iter().flatten().find(|c| matches(&c.type_, &c.status))?;
    Some(format!("Pod {namespace}/{name} has condition {}", found.type_))
}

fn exit_code<'a>(
    container: &'a ContainerStatus,
    requirement: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<(&'a str, i32)> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let is_meant = requirement.container_name.as_ref().is_none_or(|name| *name == container.name);
    let listed = requirement.values.contains(&code);
    let holds = match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    (is_meant && code != 0 && holds).then_some((&container.name, code))
}
