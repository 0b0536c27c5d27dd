//! Kubeconfig files.

use std::path::Path;

use orlop_client::config::Kubeconfig;

use crate::Target;

pub const TARGET: Target = Target {
    name: "kubeconfig",
    corpus: None, seeds: &[b"apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: 'https://h:1/p', certificate-authority: ca, insecure-skip-tls-verify: true, proxy-url: x}}]\nusers: [{name: u, user: {token: t, exec: {command: x, args: [y], env: [{name: a, value: b}]}}}]\ncontexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]\n"],
    run,
};

fn run(bytes: &[u8]) {
    let _ = Kubeconfig::parse(bytes, Path::new("/nowhere/config"));
}
