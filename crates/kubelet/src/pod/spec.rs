//! The desired side of a pod, with the questions the node asks of it.

use std::sync::Arc;

use orlop_api::typed::Typed;

use crate::corev1::{Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec, PodStatus};

/// Where a pod was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Api,
    /// A manifest on this node's disk; its API object is only a mirror.
    Static,
}

/// What part a container plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs to completion before the main containers.
    Init,
    /// A restartable init container (KEP-753).
    Sidecar,
    Main,
    Ephemeral,
}

impl Role {
    /// Upstream's `container_type` label.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Init | Self::Sidecar => "init_container",
            Self::Main => "container",
            Self::Ephemeral => "ephemeral_container",
        }
    }
}

/// A pod as this node runs it.
#[derive(Clone, Debug)]
pub struct NodePod {
    pub object: Arc<Pod>,
    pub origin: Origin,
    /// `spec.ephemeralContainers` in the shape of the others.
    ephemeral: Vec<Container>,
}

impl NodePod {
    pub fn new(object: Arc<Pod>, origin: Origin) -> Self {
        let specs = object.spec.iter().flat_map(|s| s.ephemeral_containers.iter().flatten());
        let ephemeral = specs.map(as_container).collect();
        Self { object, origin, ephemeral }
    }

    /// A pod of which nothing is known but its uid.
    pub fn unknown(uid: &str) -> Self {
        let mut object = Pod::default();
        object.metadata.uid = Some(uid.to_owned());
        Self::new(Arc::new(object), Origin::Api)
    }

    pub fn spec(&self) -> &PodSpec {
        static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.object.spec.as_ref().unwrap_or(&NONE)
    }

    /// The status the API last showed.
    pub fn api_status(&self) -> &PodStatus {
        static NONE: std::sync::LazyLock<PodStatus> = std::sync::LazyLock::new(PodStatus::default);
        self.object.status.as_ref().unwrap_or(&NONE)
    }

    pub fn name(&self) -> &str {
        Typed::name(&*self.object)
    }

    pub fn namespace(&self) -> &str {
        Typed::namespace(&*self.object)
    }

    pub fn uid(&self) -> &str {
        Typed::uid(&*self.object)
    }

    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or(0)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// `name_namespace(uid)`, as upstream's messages name a pod.
    pub fn described(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }

    pub fn is_static(&self) -> bool {
        self.origin == Origin::Static
    }

    pub fn is_deleted(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    pub fn host_network(&self) -> bool {
        self.spec().host_network.unwrap_or(false)
    }

    pub fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy::parse(self.spec().restart_policy.as_deref()).unwrap_or(RestartPolicy::Always)
    }

    pub fn init_containers(&self) -> &[Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }

    pub fn main_containers(&self) -> &[Container] {
        &self.spec().containers
    }

    pub fn ephemeral_containers(&self) -> &[Container] {
        &self.ephemeral
    }

    /// All containers: init and sidecars in order, then main, then ephemeral.
    pub fn containers(&self) -> impl Iterator<Item = (Role, &Container)> {
        let init = self.init_containers().iter().map(|c| (init_role(c), c));
        let main = self.main_containers().iter().map(|c| (Role::Main, c));
        let ephemeral = self.ephemeral.iter().map(|c| (Role::Ephemeral, c));
        init.chain(main).chain(ephemeral)
    }

    pub fn container(&self, name: &str) -> Option<(Role, &Container)> {
        self.containers().find(|(_, c)| c.name == name)
    }

    /// The container whose PID namespace an ephemeral container joins.
    pub fn ephemeral_target(&self, name: &str) -> Option<&str> {
        let mut specs = self.spec().ephemeral_containers.iter().flatten();
        specs.find(|c| c.name == name)?.target_container_name.as_deref().filter(|t| !t.is_empty())
    }

    /// Would this container start again after leaving with `exit_code`?
    pub fn restarts_after(&self, container: &Container, exit_code: i32) -> bool {
        let action = matching_rule(container, exit_code).map(|rule| rule.action.as_str());
        if matches!(action, Some(RULE_RESTART | RULE_RESTART_ALL)) {
            return true;
        }
        let own = RestartPolicy::parse(container.restart_policy.as_deref());
        match own.unwrap_or_else(|| self.restart_policy()) {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }

    /// Can any container ask for all of them to start over (KEP-5532)?
    pub fn may_restart_all(&self) -> bool {
        let rules = self.containers().filter_map(|(_, c)| c.restart_policy_rules.as_ref()).flatten();
        rules.into_iter().any(|rule| rule.action == RULE_RESTART_ALL)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }

    pub fn of_container(container: &Container) -> Option<Self> {
        Self::parse(container.restart_policy.as_deref())
    }
}

const RULE_RESTART: &str = "Restart";
pub const RULE_RESTART_ALL: &str = "RestartAllContainers";

/// An init container that keeps running beside the main ones.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

pub fn init_role(container: &Container) -> Role {
    if is_sidecar(container) { Role::Sidecar } else { Role::Init }
}

/// The container's image, empty when the spec has none.
pub fn image(container: &Container) -> &str {
    container.image.as_deref().unwrap_or_default()
}

/// What a running container is compared with: only name and image can change in place.
pub fn fingerprint(container: &Container) -> String {
    // FNV-1a, 32 bit, as the annotation's value has always been.
    let bytes = container.name.bytes().chain([0]).chain(image(container).bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("{hash:x}")
}

/// The first rule whose exit codes cover `exit_code`.
pub fn matching_rule(container: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy_rules.iter().flatten().find(|rule| {
        let Some(codes) = &rule.exit_codes else { return false };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    })
}

/// The same fields under the common type; probes, lifecycle and ports are never set here.
fn as_container(c: &EphemeralContainer) -> Container {
    Container {
        args: c.args.clone(),
        command: c.command.clone(),
        env: c.env.clone(),
        env_from: c.env_from.clone(),
        image: c.image.clone(),
        image_pull_policy: c.image_pull_policy.clone(),
        name: c.name.clone(),
        resources: c.resources.clone(),
        security_context: c.security_context.clone(),
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path.clone(),
        termination_message_policy: c.termination_message_policy.clone(),
        tty: c.tty,
        volume_mounts: c.volume_mounts.clone(),
        working_dir: c.working_dir.clone(),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::pod;

    #[test]
    fn restart_rules_come_before_policies() {
        let rule = |op: &str, action: &str| json!([{"action": action, "exitCodes": {"operator": op, "values": [42]}}]);
        for (pod_policy, own, rules, code, restarts) in [
            ("Always", json!(null), json!([]), 0, true),
            ("OnFailure", json!(null), json!([]), 0, false),
            ("OnFailure", json!(null), json!([]), 1, true),
            ("Never", json!(null), json!([]), 1, false),
            ("Never", json!("Always"), json!([]), 0, true),
            ("Always", json!("Never"), json!([]), 1, false),
            ("Never", json!("Never"), rule("In", "Restart"), 42, true),
            ("Never", json!("Never"), rule("In", "Restart"), 1, false),
            ("Never", json!("Never"), rule("NotIn", "RestartAllContainers"), 1, true),
        ] {
            let pod = pod(json!({"restartPolicy": pod_policy, "containers":
                [{"name": "a", "restartPolicy": own, "restartPolicyRules": rules}]}));
            let got = pod.restarts_after(&pod.main_containers()[0], code);
            assert_eq!(got, restarts, "{pod_policy} {own} {rules} {code}");
        }
    }
}
