//! Program, arguments, environment and working directory, from the spec over the image.

use orlop_image::ImageConfig;

use crate::corev1::Container;
use crate::env::expansion::expand;

/// What a shell would search, as container runtimes default it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `command` replaces the image's ENTRYPOINT and CMD; `args` alone replaces only CMD. Empty: there
/// is nothing to run.
pub fn args(container: &Container, image: &ImageConfig, env: &[(String, String)]) -> Vec<String> {
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        let lookup = |name: &str| env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        words.iter().flatten().map(|word| expand(word, lookup)).collect()
    };
    let (command, arguments) = (expanded(&container.command), expanded(&container.args));
    if !command.is_empty() {
        return [command, arguments].concat();
    }
    let arguments = if arguments.is_empty() { image.cmd.clone() } else { arguments };
    [image.entrypoint.clone(), arguments].concat()
}

/// The image's environment under the pod's own.
pub fn environment(
    container: &Container,
    image: &ImageConfig,
    hostname: &str,
    uid: u32,
    own: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(image.env.len() + own.len() + 4);
    let mut set = |name: &str, value: String| match env.iter_mut().find(|(key, _)| key == name) {
        Some((_, old)) => *old = value,
        None => env.push((name.to_owned(), value)),
    };
    set("PATH", DEFAULT_PATH.to_owned());
    if container.tty == Some(true) {
        set("TERM", "xterm".to_owned());
    }
    set("HOSTNAME", hostname.to_owned());
    set("HOME", if uid == 0 { "/root" } else { "/" }.to_owned());
    for line in &image.env {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        set(name, value.to_owned());
    }
    for (name, value) in own {
        set(&name, value);
    }
    env
}

pub fn working_dir(container: &Container, image: &ImageConfig) -> String {
    let own = container.working_dir.as_deref().filter(|dir| !dir.is_empty());
    let dir = own.unwrap_or(&image.working_dir);
    if dir.is_empty() { "/".to_owned() } else { dir.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_and_args_over_the_images() {
        let image = ImageConfig { entrypoint: words("entry"), cmd: words("cmd"), ..ImageConfig::default() };
        let env = [("A".to_owned(), "1".to_owned())];
        for (command, arguments, expected) in
            [("", "", "entry cmd"), ("", "x $(A) $(B)", "entry x 1 $(B)"), ("run", "", "run"), ("run", "x", "run x")]
        {
            let container =
                Container { command: Some(words(command)), args: Some(words(arguments)), ..Container::default() };
            assert_eq!(args(&container, &image, &env), words(expected));
        }
    }

    #[test]
    fn the_pod_has_the_last_word_on_the_environment() {
        let image = ImageConfig { env: vec!["PATH=/bin".into(), "X=image".into()], ..ImageConfig::default() };
        let env = environment(&Container::default(), &image, "h", 1000, vec![("X".into(), "pod".into())]);
        let lines: Vec<String> = env.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(lines, ["PATH=/bin", "HOSTNAME=h", "HOME=/", "X=pod"]);
    }
}
