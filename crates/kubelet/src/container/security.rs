//! The security context in effect: the container's fields over the pod's
//! (`pkg/securitycontext`, `pkg/kubelet/kuberuntime/security_context.go`).

use std::path::Path;
use std::sync::LazyLock;

use orlop_image::users::User;
use orlop_runtime::{Seccomp, Security};

use crate::corev1::{Container, PodSecurityContext, SeccompProfile, SecurityContext};
use crate::pod::spec::NodePod;

/// Paths hidden in a container with the default proc mount, beside every processor's [`THROTTLE`].
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// When a processor was too hot tells what it computed.
const PROCESSORS: &str = "/sys/devices/system/cpu";
const THROTTLE: &str = "thermal_throttle";
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Both contexts, the container's first.
#[derive(Clone, Copy)]
struct Contexts<'a> {
    container: Option<&'a SecurityContext>,
    pod: Option<&'a PodSecurityContext>,
}

impl<'a> Contexts<'a> {
    fn of(pod: &'a NodePod, container: &'a Container) -> Self {
        Self { container: container.security_context.as_ref(), pod: pod.spec().security_context.as_ref() }
    }

    fn run_as_user(self) -> Option<i64> {
        self.container.and_then(|c| c.run_as_user).or(self.pod.and_then(|p| p.run_as_user))
    }

    fn run_as_group(self) -> Option<i64> {
        self.container.and_then(|c| c.run_as_group).or(self.pod.and_then(|p| p.run_as_group))
    }

    fn run_as_non_root(self) -> bool {
        self.container.and_then(|c| c.run_as_non_root).or(self.pod.and_then(|p| p.run_as_non_root)) == Some(true)
    }

    fn seccomp(self) -> Option<&'a SeccompProfile> {
        let own = self.container.and_then(|c| c.seccomp_profile.as_ref());
        own.or(self.pod.and_then(|p| p.seccomp_profile.as_ref()))
    }
}

/// `user[:group]` to look up in the image: what the spec says over what the image says.
pub fn user_reference(pod: &NodePod, container: &Container, image_user: &str) -> String {
    let contexts = Contexts::of(pod, container);
    let (image_name, image_group) = image_user.split_once(':').unwrap_or((image_user, ""));
    let (name, group) = match contexts.run_as_user() {
        // The image's group belongs to the image's user.
        Some(uid) => (uid.to_string(), String::new()),
        None if image_name.is_empty() => ("0".to_owned(), image_group.to_owned()),
        None => (image_name.to_owned(), image_group.to_owned()),
    };
    let group = contexts.run_as_group().map_or(group, |gid| gid.to_string());
    if group.is_empty() { name } else { format!("{name}:{group}") }
}

/// `runAsNonRoot`, judged by numbers only: a name could be root's.
pub fn verify_non_root(pod: &NodePod, container: &Container, image_user: &str) -> Result<(), String> {
    let contexts = Contexts::of(pod, container);
    if !contexts.run_as_non_root() {
        return Ok(());
    }
    let place = format!("(pod: {:?}, container: {})", pod.described(), container.name);
    if let Some(uid) = contexts.run_as_user() {
        let root = format!("container's runAsUser breaks non-root policy {place}");
        return if uid == 0 { Err(root) } else { Ok(()) };
    }
    let name = image_user.split(':').next().unwrap_or_default();
    match name.parse::<i64>() {
        Err(_) if !name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
        )),
        Err(_) | Ok(0) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        Ok(_) => Ok(()),
    }
}

/// Groups of the process: its own, the image's unless the policy is Strict, `fsGroup`, the spec's.
pub fn with_groups(pod: &NodePod, user: User) -> User {
    let context = pod.spec().security_context.as_ref();
    let strict = context.and_then(|c| c.supplemental_groups_policy.as_deref()) == Some("Strict");
    let mut groups = vec![user.gid];
    if !strict {
        groups.extend(&user.groups);
    }
    let ids = context.iter().flat_map(|c| c.fs_group.iter().chain(c.supplemental_groups.iter().flatten()));
    groups.extend(ids.filter_map(|id| u32::try_from(*id).ok()));
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|group| seen.insert(*group));
    User { groups, ..user }
}

/// Everything else, for a user already resolved.
pub fn security(pod: &NodePod, container: &Container, user: &User, seccomp_root: &Path) -> Result<Security, String> {
    let contexts = Contexts::of(pod, container);
    let own = contexts.container;
    let privileged = own.and_then(|c| c.privileged) == Some(true);
    let capabilities = own.and_then(|c| c.capabilities.as_ref());
    let unmasked = privileged || own.and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked");
    let names = |names: Option<&Vec<String>>| -> Vec<String> {
        let names = names.into_iter().flatten().map(|n| n.to_uppercase());
        names.map(|n| n.strip_prefix("CAP_").map_or(n.clone(), str::to_owned)).collect()
    };
    Ok(Security {
        privileged,
        uid: user.uid,
        gid: user.gid,
        supplemental_groups: user.groups.clone(),
        add_capabilities: names(capabilities.and_then(|c| c.add.as_ref())),
        drop_capabilities: names(capabilities.and_then(|c| c.drop.as_ref())),
        read_only_rootfs: own.and_then(|c| c.read_only_root_filesystem) == Some(true),
        no_new_privileges: own.and_then(|c| c.allow_privilege_escalation) == Some(false),
        seccomp: if privileged { Seccomp::Unconfined } else { seccomp(contexts.seccomp(), seccomp_root)? },
        masked_paths: if unmasked { Vec::new() } else { masked() },
        readonly_paths: if unmasked { Vec::new() } else { READ_ONLY.map(str::to_owned).to_vec() },
    })
}

fn masked() -> Vec<String> {
    /// Processors do not come and go.
    static THROTTLES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let processors = std::fs::read_dir(PROCESSORS).into_iter().flatten().filter_map(Result::ok);
        let files = processors.map(|processor| processor.path().join(THROTTLE)).filter(|path| path.exists());
        files.map(|path| path.to_string_lossy().into_owned()).collect()
    });
    MASKED.iter().map(|path| (*path).to_owned()).chain(THROTTLES.iter().cloned()).collect()
}

fn seccomp(profile: Option<&SeccompProfile>, root: &Path) -> Result<Seccomp, String> {
    let Some(profile) = profile else { return Ok(Seccomp::Unconfined) };
    match (profile.type_.as_str(), profile.localhost_profile.as_deref().filter(|p| !p.is_empty())) {
        ("RuntimeDefault", _) => Ok(Seccomp::RuntimeDefault),
        ("Localhost", Some(path)) => Ok(Seccomp::Localhost(root.join(path))),
        ("Localhost", None) => Err("localhostProfile must be set if seccompProfile type is Localhost.".to_owned()),
        _ => Ok(Seccomp::Unconfined),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn with(pod_context: Value, context: Value) -> NodePod {
        pod(json!({"securityContext": pod_context, "containers": [{"name": "c", "securityContext": context}]}))
    }

    #[test]
    fn users() {
        for (pod_context, context, image, expected) in [
            (json!({}), json!({}), "", "0"),
            (json!({}), json!({}), "nginx:www", "nginx:www"),
            (json!({"runAsUser": 1}), json!({"runAsUser": 2}), "nginx:www", "2"),
            (json!({"runAsGroup": 3}), json!({}), "nginx:www", "nginx:3"),
            (json!({"runAsUser": 1, "runAsGroup": 3}), json!({}), "", "1:3"),
        ] {
            let pod = with(pod_context, context);
            assert_eq!(user_reference(&pod, &pod.main_containers()[0], image), expected);
        }
    }

    #[test]
    fn non_root_in_upstreams_words() {
        let place = "(pod: \"p_default(u1)\", container: c)";
        for (context, image, expected) in [
            (json!({"runAsNonRoot": true}), "1000", ""),
            (json!({"runAsNonRoot": true, "runAsUser": 5}), "root", ""),
            (json!({"runAsNonRoot": true, "runAsUser": 0}), "", "container's runAsUser breaks non-root policy "),
            (json!({"runAsNonRoot": true}), "", "container has runAsNonRoot and image will run as root "),
            (
                json!({"runAsNonRoot": true}),
                "nginx",
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root ",
            ),
        ] {
            let pod = with(json!({}), context);
            let error = verify_non_root(&pod, &pod.main_containers()[0], image).err().unwrap_or_default();
            let expected = if expected.is_empty() { String::new() } else { format!("{expected}{place}") };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn groups_and_policy() {
        let user = User { uid: 1, gid: 1, groups: vec![7, 8], by_name: true };
        let pod = with(json!({"fsGroup": 50, "supplementalGroups": [60, 7]}), json!({}));
        assert_eq!(with_groups(&pod, user.clone()).groups, [1, 7, 8, 50, 60]);
        let pod = with(json!({"supplementalGroupsPolicy": "Strict", "supplementalGroups": [60]}), json!({}));
        assert_eq!(with_groups(&pod, user).groups, [1, 60]);
    }

    #[test]
    fn fields_reach_the_runtime() {
        let context = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["all"]}, "seccompProfile": {"type": "RuntimeDefault"}});
        let pod = with(json!({"seccompProfile": {"type": "Unconfined"}}), context);
        let made = security(&pod, &pod.main_containers()[0], &User::default(), Path::new("/s")).unwrap();
        assert_eq!((made.add_capabilities, made.drop_capabilities), (vec!["NET_ADMIN".into()], vec!["ALL".into()]));
        assert!(made.no_new_privileges && made.read_only_rootfs && !made.masked_paths.is_empty());
        assert_eq!(made.seccomp, Seccomp::RuntimeDefault);
        let pod = with(json!({}), json!({"privileged": true}));
        let made = security(&pod, &pod.main_containers()[0], &User::default(), Path::new("/s")).unwrap();
        assert!(made.privileged && made.masked_paths.is_empty());
    }
}
