//! Probes and lifecycle hooks: what is done to a running container.

use serde_json::Value;

use super::prelude::*;
use crate::names;

/// The three probes of a container; absent ones are fine.
pub(crate) fn probes(container: &Value, grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut ErrorList) {
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let value = &container[field];
        if value.is_null() {
            continue;
        }
        let path = path.child(field);
        probe(value, grace_seconds, &path, errors);
        if field == "readinessProbe" {
            if value.has("terminationGracePeriodSeconds") {
                let at = path.child("terminationGracePeriodSeconds");
                errors.invalid(
                    &at,
                    value["terminationGracePeriodSeconds"].clone(),
                    "must not be set for readinessProbes",
                );
            }
        } else if value.int("successThreshold") != 1 {
            errors.invalid(&path.child("successThreshold"), value.int("successThreshold"), "must be 1");
        }
    }
}

fn probe(probe: &Value, grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut ErrorList) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace_seconds, path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(probe.int(field), &path.child(field), errors);
    }
    if let Some(seconds) = probe["terminationGracePeriodSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
}

pub(crate) fn lifecycle(
    lifecycle: &Value,
    os: Option<&str>,
    grace_seconds: Option<i64>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for field in ["postStart", "preStop"].into_iter().filter(|field| lifecycle.has(field)) {
        let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
        handler(&lifecycle[field], &kinds, grace_seconds, &path.child(field), errors);
    }
    if let Some(signal) = lifecycle["stopSignal"].as_str() {
        stop_signal(signal, os, &path.child("stopSignal"), errors);
    }
}

fn handler(value: &Value, kinds: &[&str], grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut ErrorList) {
    let mut found = false;
    for kind in kinds.iter().copied().filter(|kind| value.has(kind)) {
        let (path, action) = (path.child(kind), &value[kind]);
        if found {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match kind {
            "exec" => {
                if action.list("command").is_empty() {
                    errors.required(&path.child("command"), "");
                }
            }
            "httpGet" => http_get(action, &path, errors),
            "sleep" => sleep(action.int("seconds"), grace_seconds, &path, errors),
            "grpc" => {
                in_range(action.int("port"), 1, 65535, &path.child("port"), errors);
                optional_one_of(&action["mode"], &["Plaintext", "TLS"], &path.child("mode"), errors);
            }
            _ => port(&action["port"], &path.child("port"), errors),
        }
    }
    if !found {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(action: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    required(action, "path", path, errors);
    port(&action["port"], &path.child("port"), errors);
    let scheme = action.text("scheme");
    one_of(scheme, &["HTTP", "HTTPS"], &path.child("scheme"), errors);
    for header in action.list("httpHeaders") {
        let name = header.text("name");
        errors.each_invalid(&path.child("httpHeaders"), name, names::http_header(name));
    }
    let at = path.child("protocol");
    match action["protocol"].as_str() {
        Some("HTTP2") if scheme != "HTTP" => errors.invalid(&at, "HTTP2", "is only supported with HTTP (H2C)"),
        Some("HTTP2") if !action.text("host").is_empty() => {
            let detail = "must be empty when `protocol` is \"HTTP2\"";
            errors.invalid(&path.child("host"), action.text("host"), detail);
        }
        Some(protocol) => one_of(protocol, &["HTTP1", "HTTP2"], &at, errors),
        None => {}
    }
}

fn sleep(seconds: i64, grace_seconds: Option<i64>, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(grace) = grace_seconds.filter(|grace| seconds < 0 || seconds > *grace) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, seconds, detail);
    }
}

const LINUX_SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

fn stop_signal(signal: &str, os: Option<&str>, path: &Path<'_>, errors: &mut ErrorList) {
    match os {
        None => errors.forbidden(path, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") => one_of(signal, &["SIGKILL", "SIGTERM"], path, errors),
        Some("linux") => one_of(signal, LINUX_SIGNALS, path, errors),
        Some(_) => {}
    }
}
