//! Upstream's control plane as the usual installer (kubeadm) runs it, on keys and certificates that Orlop made.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::Process;

/// An address of documentation's range (RFC 5737): advertised, never dialled.
pub const NODE_IP: &str = "192.0.2.1";
pub const SERVICE_CIDR: &str = "10.96.0.0/12";

/// `pki` as Orlop lays it out; `more` flags beside upstream's defaults.
pub fn kube_apiserver(
    command: Command,
    dir: &Path,
    pki: &Path,
    (port, etcd_port): (u16, u16),
    more: &[(&str, &str)],
) -> Result<Process> {
    let key = |name: &str| pki.join(name).display().to_string();
    let mut args = Vec::new();
    for (flag, file) in [
        ("client-ca-file", "ca.crt"),
        ("tls-cert-file", "apiserver.crt"),
        ("tls-private-key-file", "apiserver.key"),
        ("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
        ("kubelet-client-key", "apiserver-kubelet-client.key"),
        ("requestheader-client-ca-file", "front-proxy-ca.crt"),
        ("proxy-client-cert-file", "front-proxy-client.crt"),
        ("proxy-client-key-file", "front-proxy-client.key"),
        ("service-account-key-file", "sa.pub"),
        ("service-account-signing-key-file", "sa.key"),
    ] {
        args.extend(flags(&[(flag, &key(file))]));
    }
    // What the usual installer sets; all else is upstream's default.
    args.extend(flags(&[
        ("bind-address", "127.0.0.1"),
        ("advertise-address", NODE_IP),
        ("secure-port", &port.to_string()),
        ("etcd-servers", &format!("http://127.0.0.1:{etcd_port}")),
        ("service-cluster-ip-range", SERVICE_CIDR),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("allow-privileged", "true"),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("requestheader-uid-headers", "X-Remote-Uid"),
    ]));
    args.extend(flags(more));
    Process::start("kube-apiserver", command, &args, dir)
}

/// How many requests a second a part may send: upstream's defaults (20 and 50) would be all that is measured, and
/// its own scheduler_perf lifts them as far.
const REQUESTS_PER_SECOND: u32 = 5000;

pub fn kube_scheduler(command: Command, dir: &Path, kubeconfig: &Path) -> Result<Process> {
    let config = dir.join("scheduler.yaml");
    let text = format!(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nclientConnection:\n  \
         kubeconfig: {}\n  qps: {REQUESTS_PER_SECOND}\n  burst: {REQUESTS_PER_SECOND}\n",
        kubeconfig.display()
    );
    std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    let args = flags(&[("config", &config.display().to_string()), ("secure-port", "0")]);
    Process::start("kube-scheduler", command, &args, dir)
}

pub fn kube_controller_manager(command: Command, dir: &Path, pki: &Path, kubeconfig: &Path) -> Result<Process> {
    let key = |name: &str| pki.join(name).display().to_string();
    let requests = REQUESTS_PER_SECOND.to_string();
    let args = flags(&[
        ("kubeconfig", &kubeconfig.display().to_string()),
        ("root-ca-file", &key("ca.crt")),
        ("cluster-signing-cert-file", &key("ca.crt")),
        ("cluster-signing-key-file", &key("ca.key")),
        ("service-account-private-key-file", &key("sa.key")),
        ("kube-api-qps", &requests),
        ("kube-api-burst", &requests),
        ("secure-port", "0"),
    ]);
    Process::start("kube-controller-manager", command, &args, dir)
}

pub(super) fn flags(all: &[(&str, &str)]) -> Vec<OsString> {
    all.iter().map(|(flag, value)| format!("--{flag}={value}").into()).collect()
}
