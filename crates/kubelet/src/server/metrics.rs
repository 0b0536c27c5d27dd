//! `/metrics` and below it, for Prometheus.

use std::fmt::Write;
use std::sync::Arc;

use http::{Response, StatusCode};
use orlop_client::transport::Body;
use orlop_runtime::Stats;

use super::{reply, stats};
use crate::context::Context;
use crate::pod::spec::NodePod;
use crate::usage::{self, ContainerUsage, Depth, PodUsage};

type PodUsed = (Arc<NodePod>, PodUsage);

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn text(text: String) -> Response<Body> {
    reply::with_type(StatusCode::OK, CONTENT_TYPE, text)
}

pub fn own(context: &Context) -> Response<Body> {
    let mut out = Page(context.metrics.own());
    out.head("kubelet_node_name", "gauge", "The node's name");
    out.value("kubelet_node_name", &[("node", &context.config.node_name)], 1.0);
    let views = context.observed.all();
    let running = views.iter().filter(|(_, view)| view.ready_sandbox().is_some()).count();
    out.head("kubelet_running_pods", "gauge", "Pods that have a running sandbox");
    out.value("kubelet_running_pods", &[], running as f64);
    out.head("kubelet_running_containers", "gauge", "Containers by state");
    let containers = || views.iter().flat_map(|(_, view)| view.containers.iter());
    for (state, count) in [
        ("running", containers().filter(|c| c.is_running()).count()),
        ("exited", containers().filter(|c| c.has_exited()).count()),
    ] {
        out.value("kubelet_running_containers", &[("container_state", state)], count as f64);
    }
    text(out.0)
}

pub fn probes(context: &Context) -> Response<Body> {
    text(context.metrics.probes())
}

/// `/metrics/resource`: what metrics-server reads.
pub async fn resource(context: &Context) -> Response<Body> {
    let mut out = Page::default();
    let node = stats::node_stats(context);
    let at = node.unix_nanos / 1_000_000;
    for (name, kind, help, value) in [
        ("node_cpu_usage_seconds_total", "counter", "CPU time used by the node", seconds(node.cpu_usage_nanos)),
        ("node_memory_working_set_bytes", "gauge", "Working set of the node", node.memory_working_set_bytes as f64),
    ] {
        out.head(name, kind, help);
        out.value_at(name, &[], value, at);
    }
    let used = usage::of_all(context, Depth::Counters).await;
    containers(&mut out, &used);
    of_pods(&mut out, &used);
    out.head("resource_scrape_error", "gauge", "1 if something could not be read");
    out.value("resource_scrape_error", &[], 0.0);
    text(out.0)
}

fn containers(out: &mut Page, used: &[PodUsed]) {
    type Read = fn(&ContainerUsage) -> f64;
    let series: [(&str, &str, &str, Read); 3] = [
        ("container_cpu_usage_seconds_total", "counter", "CPU time used by the container", |c| {
            seconds(c.stats.cpu_usage_nanos)
        }),
        ("container_memory_working_set_bytes", "gauge", "Working set of the container", |c| {
            c.stats.memory_working_set_bytes as f64
        }),
        ("container_start_time_seconds", "gauge", "When the container started", |c| {
            seconds(c.started_nanos.max(0).unsigned_abs())
        }),
    ];
    for (name, kind, help, read) in series {
        out.head(name, kind, help);
        for (pod, usage) in used {
            for container in &usage.containers {
                let labels = [("container", &*container.name), ("namespace", pod.namespace()), ("pod", pod.name())];
                out.value_at(name, &labels, read(container), container.stats.unix_nanos / 1_000_000);
            }
        }
    }
}

fn of_pods(out: &mut Page, used: &[PodUsed]) {
    type Read = fn(&Stats) -> f64;
    let series: [(&str, &str, &str, Read); 2] = [
        ("pod_cpu_usage_seconds_total", "counter", "CPU time used by the pod", |s| seconds(s.cpu_usage_nanos)),
        ("pod_memory_working_set_bytes", "gauge", "Working set of the pod", |s| s.memory_working_set_bytes as f64),
    ];
    for (name, kind, help, read) in series {
        out.head(name, kind, help);
        for (pod, whole) in used.iter().filter_map(|(pod, usage)| Some((pod, usage.whole.as_ref()?))) {
            let labels = [("namespace", pod.namespace()), ("pod", pod.name())];
            out.value_at(name, &labels, read(whole), whole.unix_nanos / 1_000_000);
        }
    }
}

/// `/metrics/cadvisor`: containers and machine under cAdvisor's names.
pub async fn cadvisor(context: &Context) -> Response<Body> {
    let mut out = Page::default();
    out.head("machine_cpu_cores", "gauge", "CPUs of the machine");
    out.value("machine_cpu_cores", &[], context.machine.cpus as f64);
    out.head("machine_memory_bytes", "gauge", "Memory of the machine");
    out.value("machine_memory_bytes", &[], context.machine.memory_bytes as f64);
    let used = usage::of_all(context, Depth::Counters).await;
    type Read = fn(&Stats) -> f64;
    let series: [(&str, &str, &str, Read); 5] = [
        ("container_cpu_usage_seconds_total", "counter", "CPU time used", |s| seconds(s.cpu_usage_nanos)),
        ("container_memory_usage_bytes", "gauge", "Memory used, caches included", |s| s.memory_usage_bytes as f64),
        ("container_memory_working_set_bytes", "gauge", "Working set", |s| s.memory_working_set_bytes as f64),
        ("container_memory_rss", "gauge", "Anonymous memory", |s| s.memory_rss_bytes as f64),
        ("container_processes", "gauge", "Processes", |s| s.pids as f64),
    ];
    for (name, kind, help, read) in series {
        out.head(name, kind, help);
        for (pod, usage) in &used {
            for container in &usage.containers {
                let labels = [
                    ("container", &*container.name),
                    ("id", &container.id),
                    ("image", &container.image),
                    ("name", &container.id),
                    ("namespace", pod.namespace()),
                    ("pod", pod.name()),
                ];
                out.value_at(name, &labels, read(&container.stats), container.stats.unix_nanos / 1_000_000);
            }
        }
    }
    text(out.0)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A page of the text format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = writeln!(self.0, "{name}{} {value}", braced(labels));
    }

    fn value_at(&mut self, name: &str, labels: &[(&str, &str)], value: f64, unix_millis: i64) {
        let _ = writeln!(self.0, "{name}{} {value} {unix_millis}", braced(labels));
    }
}

fn braced(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let quoted = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    format!("{{{}}}", labels.iter().map(quoted).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format() {
        let mut page = Page::default();
        page.value_at("a", &[("x", "q\"\\")], 1.5, 7);
        page.value("b", &[], 2.0);
        assert_eq!(page.0, "a{x=\"q\\\"\\\\\"} 1.5 7\nb 2\n");
    }
}
