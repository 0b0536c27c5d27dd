//! The runtime's container, put together.

use std::path::PathBuf;

use orlop_image::Image;
use orlop_image::users::User;
use orlop_runtime::{ContainerConfig, Mount};

use super::{args, security, signal};
use crate::corev1::Container;
use crate::names;
use crate::pod::spec::{NodePod, image as image_name};
use crate::resources::cgroup::container_resources;

/// What a container is made of, all of it known.
pub struct ConfigInput<'a> {
    pub pod: &'a NodePod,
    pub container: &'a Container,
    pub image: &'a Image,
    pub attempt: u32,
    /// Resolved in the image, groups included.
    pub user: &'a User,
    pub hostname: &'a str,
    /// From [`crate::env::build`].
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub termination_file: Option<PathBuf>,
    pub log_path: PathBuf,
    pub target_container: Option<String>,
    pub memory_capacity: i64,
    pub seccomp_root: &'a std::path::Path,
}

/// Fails with the text of `CreateContainerConfigError`, or of `CreateContainerError` when only the
/// runtime could know.
pub fn build(input: ConfigInput<'_>) -> Result<ContainerConfig, String> {
    let ConfigInput { pod, container, image, .. } = input;
    let arguments = args::args(container, &image.config, &input.env);
    if arguments.is_empty() {
        return Err("no command specified".to_owned());
    }
    let termination_file = input.termination_file.as_deref();
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt: input.attempt,
        rootfs_layers: image.layers.clone(),
        image: status_image(container, image),
        image_id: status_image_id(image),
        args: arguments,
        working_dir: args::working_dir(container, &image.config),
        resources: container_resources(pod.spec(), container, input.memory_capacity),
        security: security::security(pod, container, input.user, input.seccomp_root)?,
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        target_container: input.target_container,
        log_path: input.log_path,
        labels: names::container_labels(pod, container),
        annotations: names::container_annotations(pod, container, input.attempt, input.user, termination_file),
        stop_signal: signal::stop_signal(container, &image.config.stop_signal),
        env: args::environment(container, &image.config, input.hostname, input.user.uid, input.env),
        mounts: input.mounts,
        devices: Vec::new(),
    })
}

/// The image as the status names it: the tag it has on this node, else what the spec says.
fn status_image(container: &Container, image: &Image) -> String {
    let asked = image_name(container);
    let tag = image.repo_tags.iter().find(|tag| tag.as_str() == asked || tag.ends_with(&format!("/{asked}")));
    let tag = tag.or_else(|| image.repo_tags.iter().find(|tag| tag.contains(asked))).or(image.repo_tags.first());
    tag.cloned().unwrap_or_else(|| asked.to_owned())
}

/// The digest reference if there is one, else the image's id.
fn status_image_id(image: &Image) -> String {
    image.repo_digests.first().unwrap_or(&image.id).clone()
}

#[cfg(test)]
mod tests {
    use orlop_image::ImageConfig;
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn an_image_without_a_command_needs_one() {
        let pod = pod(json!({"containers": [{"name": "c", "image": "busybox"}]}));
        let config = ImageConfig { stop_signal: "SIGQUIT".into(), ..ImageConfig::default() };
        let mut image = Image {
            id: "sha256:1".into(),
            repo_tags: vec!["docker.io/library/busybox:latest".into()],
            config,
            ..Image::default()
        };
        let made = |image: &Image| {
            build(ConfigInput {
                pod: &pod,
                container: &pod.main_containers()[0],
                image,
                attempt: 3,
                user: &User::default(),
                hostname: "p",
                env: Vec::new(),
                mounts: Vec::new(),
                termination_file: None,
                log_path: "/l".into(),
                target_container: None,
                memory_capacity: 1 << 30,
                seccomp_root: std::path::Path::new("/s"),
            })
        };
        assert_eq!(made(&image).unwrap_err(), "no command specified");
        image.config.cmd = vec!["sh".into()];
        let config = made(&image).unwrap();
        assert_eq!((config.image.as_str(), config.image_id.as_str()), ("docker.io/library/busybox:latest", "sha256:1"));
        assert_eq!((config.stop_signal, config.working_dir.as_str()), (3, "/"));
        assert_eq!(config.annotations["io.kubernetes.container.restartCount"], "3");
    }
}
