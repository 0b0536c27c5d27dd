//! Checks of containers alone.

use std::collections::BTreeSet;

use orlop_api::Value;

use super::checks::{Violation, containers, containers_of, name, plural, quoted};

/// Capabilities every container may have.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Containers of which something holds.
fn which(pod: &Value, mut bad: impl FnMut(&Value) -> bool) -> Vec<String> {
    containers_of(pod).filter(|container| bad(container)).map(name).collect()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn list(set: &BTreeSet<String>) -> Vec<&String> {
    set.iter().collect()
}

pub fn capabilities_baseline(pod: &Value) -> Option<Violation> {
    let mut wrong = BTreeSet::new();
    let bad = which(pod, |container| {
        let added = texts(&container["securityContext"]["capabilities"]["add"]);
        let more: Vec<&str> = added.filter(|name| !DEFAULT_CAPABILITIES.contains(name)).collect();
        wrong.extend(more.iter().map(|name| (*name).to_owned()));
        !more.is_empty()
    });
    (!bad.is_empty()).then(|| {
        let what = quoted(&list(&wrong));
        let detail = format!("{} must not include {what} in securityContext.capabilities.add", containers(&bad));
        ("non-default capabilities".into(), detail)
    })
}

pub fn capabilities_restricted(pod: &Value) -> Option<Violation> {
    let capabilities = |container: &Value| container["securityContext"]["capabilities"].clone();
    let keeping = which(pod, |container| !texts(&capabilities(container)["drop"]).any(|name| name == "ALL"));
    let mut wrong = BTreeSet::new();
    let adding = which(pod, |container| {
        let capabilities = capabilities(container);
        let more: Vec<&str> = texts(&capabilities["add"]).filter(|name| *name != "NET_BIND_SERVICE").collect();
        wrong.extend(more.iter().map(|name| (*name).to_owned()));
        !more.is_empty()
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let what = quoted(&list(&wrong));
        details.push(format!("{} must not include {what} in securityContext.capabilities.add", containers(&adding)));
    }
    (!details.is_empty()).then(|| ("unrestricted capabilities".into(), details.join("; ")))
}

pub fn host_ports(pod: &Value) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let bad = which(pod, |container| {
        let all = container["ports"].as_array().into_iter().flatten();
        let taken: Vec<String> = all
            .filter_map(|port| port["hostPort"].as_i64())
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect();
        ports.extend(taken.iter().cloned());
        !taken.is_empty()
    });
    (!bad.is_empty()).then(|| {
        let (uses, what) = (plural("uses", "use", bad.len()), plural("hostPort", "hostPorts", ports.len()));
        let ports: Vec<String> = ports.into_iter().collect();
        ("hostPort".into(), format!("{} {uses} {what} {}", containers(&bad), ports.join(", ")))
    })
}

pub fn host_probes(pod: &Value) -> Option<Violation> {
    let mut hosts = BTreeSet::new();
    let mut bad = which(pod, |container| {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
        let handlers = probes.into_iter().chain(hooks);
        let named = handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|how| handler[how]["host"].as_str()));
        let named: Vec<&str> = named.flatten().filter(|host| !host.is_empty()).collect();
        hosts.extend(named.iter().map(|host| (*host).to_owned()));
        !named.is_empty()
    });
    bad.sort();
    bad.dedup();
    (!bad.is_empty()).then(|| {
        let uses = plural("uses", "use", bad.len());
        let what = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
        let detail = format!("{} {uses} {what} {}", containers(&bad), quoted(&list(&hosts)));
        ("probe or lifecycle host".into(), detail)
    })
}

pub fn privileged(pod: &Value) -> Option<Violation> {
    let bad = which(pod, |container| container["securityContext"]["privileged"] == true);
    (!bad.is_empty())
        .then(|| ("privileged".into(), format!("{} must not set securityContext.privileged=true", containers(&bad))))
}

pub fn proc_mount(pod: &Value) -> Option<Violation> {
    let mut wrong = BTreeSet::new();
    let bad = which(pod, |container| {
        let mount = container["securityContext"]["procMount"].as_str().filter(|mount| *mount != "Default");
        wrong.extend(mount.map(str::to_owned));
        mount.is_some()
    });
    (!bad.is_empty()).then(|| {
        let detail =
            format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(&list(&wrong)));
        ("procMount".into(), detail)
    })
}

pub fn privilege_escalation(pod: &Value) -> Option<Violation> {
    let bad = which(pod, |container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    (!bad.is_empty()).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
        ("allowPrivilegeEscalation != false".into(), detail)
    })
}
