//! The program and who runs it.

use std::ffi::CString;

use super::{c_string, capabilities, seccomp, users};
use crate::plan::{CgroupPlan, ExecPlan, ProcessPlan};
use crate::{ContainerConfig, ExecConfig, Result, RuntimeError, SandboxConfig};

/// Where programs are looked for when the image does not say (runc, containerd).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// systemd's defaults, which containerd 2 leaves its containers: a low soft limit for programs that loop over
/// all descriptors or use `select`, room to raise it for those that need many.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

pub fn process(config: &ContainerConfig, hostname: &str) -> Result<ProcessPlan> {
    let security = &config.security;
    let granted = capabilities::set(security.privileged, &security.add_capabilities, &security.drop_capabilities)
        & capabilities::available();
    let confined = if security.privileged { &crate::Seccomp::Unconfined } else { &security.seccomp };
    if config.args.is_empty() {
        return Err(RuntimeError::Start("no command specified".into()));
    }
    Ok(ProcessPlan {
        args: c_strings(&config.args)?,
        env: environment(config, hostname, config.tty)?,
        cwd: c_string(if config.working_dir.is_empty() { "/" } else { &config.working_dir })?,
        uid: security.uid,
        gid: security.gid,
        groups: security.supplemental_groups.clone(),
        capabilities: granted,
        no_new_privileges: security.no_new_privileges,
        seccomp: seccomp::program(confined, granted)?,
        rlimits: vec![(libc::RLIMIT_NOFILE, OPEN_FILES)],
        oom_score_adj: Some(config.resources.oom_score_adj.unwrap_or(0)),
    })
}

/// Another program in the same container, as the same user with the same rights.
pub fn exec(
    config: &ContainerConfig,
    sandbox: &SandboxConfig,
    container: &str,
    exec: &ExecConfig,
    cgroup: CgroupPlan,
) -> Result<ExecPlan> {
    let hostname = &sandbox.hostname;
    let mut process = process(config, hostname)?;
    process.args = c_strings(&exec.args)?;
    if exec.tty && !config.tty {
        process.env = environment(config, hostname, true)?;
    }
    Ok(ExecPlan {
        container: container.to_owned(),
        tty: exec.tty,
        streams: vec![exec.stdin, exec.stdout, exec.stderr],
        cgroup,
        process,
        process_json: String::new(),
        users: sandbox.users.map(users),
    })
}

/// Later values win, as `execve`'s readers take the first or the last at will.
fn environment(config: &ContainerConfig, hostname: &str, tty: bool) -> Result<Vec<CString>> {
    let mut defaults = vec![("PATH", DEFAULT_PATH), ("HOSTNAME", hostname)];
    if tty {
        defaults.push(("TERM", "xterm"));
    }
    let given = |name: &str| config.env.iter().any(|(key, _)| key == name);
    let defaults = defaults.into_iter().filter(|(name, _)| !given(name)).map(|(n, v)| (n.to_owned(), v.to_owned()));
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in defaults.chain(config.env.iter().cloned()) {
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => variables.push((name, value)),
        }
    }
    variables.into_iter().map(|(name, value)| c_string(format!("{name}={value}"))).collect()
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>> {
    texts.iter().map(|text| c_string(text.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_has_defaults_and_no_doubles() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let config = ContainerConfig {
            args: vec!["x".into()],
            env: vec![pair("A", "1"), pair("PATH", "/p"), pair("A", "2")],
            ..ContainerConfig::default()
        };
        let texts = |tty| {
            let env = environment(&config, "web-0", tty).unwrap();
            env.into_iter().map(|c| c.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(texts(false), ["HOSTNAME=web-0", "A=2", "PATH=/p"]);
        assert_eq!(texts(true)[1], "TERM=xterm");
        let nul = ContainerConfig { args: vec!["a\0b".into()], ..ContainerConfig::default() };
        assert!(process(&nul, "h").is_err());
    }
}
