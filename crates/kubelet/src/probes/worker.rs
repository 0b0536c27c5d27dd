//! One probe of one container: waits until it may ask, asks, tells.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_base::clock;
use orlop_client::events::EventType;
use tokio::sync::watch;
use tokio::time::Instant;

use super::judge::Judge;
use super::{Answer, Outcome, ProbeKind, ProbeResults, command, grpc, http, tcp};
use crate::context::Context;
use crate::corev1::{Container, Probe};
use crate::env::expansion::expand;
use crate::metrics::ProbeLabels;
use crate::pod::spec::NodePod;
use crate::pods::PodHandle;

/// What a probe looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The running instance; `None`: there is nobody to ask.
    pub container_id: Option<String>,
    pub started_unix_nanos: i64,
    /// The startup probe, if there is one, has succeeded.
    pub started: bool,
    pub pod_ip: String,
}

/// A question that could not be put is put again at once, this often (`maxProbeRetries`).
const TRIES: usize = 3;

pub struct Prober {
    pub context: Arc<Context>,
    pub handle: Arc<PodHandle>,
    pub pod: Arc<NodePod>,
    pub container: Container,
    pub probe: Probe,
    pub kind: ProbeKind,
    pub results: Arc<Mutex<ProbeResults>>,
}

impl Prober {
    /// Runs until its task is dropped or the target's sender is gone.
    pub async fn run(self, mut targets: watch::Receiver<Target>) {
        let mut judge = Judge::new(self.kind, &self.probe);
        let mut current: Option<String> = None;
        let mut next = Instant::now();
        loop {
            let target = targets.borrow_and_update().clone();
            if target.container_id != current {
                judge = Judge::new(self.kind, &self.probe);
                self.meet(current.as_deref(), &target);
                current.clone_from(&target.container_id);
                next = Instant::now() + self.first_wait(&target);
            }
            let gate_open = (self.kind == ProbeKind::Startup) != target.started;
            let Some(id) = target.container_id.as_deref().filter(|_| gate_open && !judge.on_hold) else {
                if targets.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                biased;
                changed = targets.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(next) => {}
            }
            let asked = Instant::now();
            let answer = self.ask(id, &target.pod_ip).await;
            self.tell(&answer);
            self.context.metrics.probes.get_or_create(&self.labels(result(&answer))).inc();
            if let Some(outcome) = judge.hear(&answer) {
                self.believe(id, outcome);
            }
            next = asked + self.seconds(self.probe.period_seconds, 10);
        }
    }

    /// Another instance: what was believed of the last one is forgotten. An instance from before
    /// this agent keeps what was said of it until it answers.
    fn meet(&self, old: Option<&str>, target: &Target) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = old {
            results.remove(self.kind, old);
        }
        let Some(id) = &target.container_id else { return };
        let adopted = target.started_unix_nanos < self.context.started_nanos;
        let outcome = match self.kind {
            ProbeKind::Startup if adopted && target.started => Outcome::Success,
            _ if adopted => return,
            kind => kind.initial(),
        };
        let news = results.set(self.kind, id, outcome);
        drop(results);
        if news {
            self.handle.wake();
        }
    }

    /// The initial delay counts from the container's start. After a restart of the agent, probes
    /// spread over a period, so as not to ask everything at once.
    fn first_wait(&self, target: &Target) -> Duration {
        let delay = self.seconds(self.probe.initial_delay_seconds, 0);
        let since = clock::unix_nanos().saturating_sub(target.started_unix_nanos).max(0);
        let left = delay.saturating_sub(Duration::from_nanos(since.unsigned_abs()));
        if target.container_id.is_some() && target.started_unix_nanos < self.context.started_nanos {
            let share = orlop_base::id::with_rng(|rng| rng.f64());
            return left.max(self.seconds(self.probe.period_seconds, 10).mul_f64(share));
        }
        left
    }

    async fn ask(&self, id: &str, pod_ip: &str) -> Answer {
        let mut answer = Answer::Error(String::new());
        for _ in 0..TRIES {
            answer = self.ask_once(id, pod_ip).await;
            if !matches!(answer, Answer::Error(_)) {
                break;
            }
        }
        answer
    }

    async fn ask_once(&self, id: &str, pod_ip: &str) -> Answer {
        let timeout = self.seconds(self.probe.timeout_seconds, 1);
        if let Some(exec) = &self.probe.exec {
            let command = static_command(exec.command.as_deref().unwrap_or_default(), &self.container);
            return command::probe(&*self.context.runtime, id, &command, timeout).await;
        }
        if let Some(action) = &self.probe.http_get {
            return match http::Get::new(action, &self.container, pod_ip, "probe") {
                Ok(get) => http::probe(get, timeout).await,
                Err(why) => Answer::Error(why),
            };
        }
        if let Some(action) = &self.probe.tcp_socket {
            let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
            return match http::resolve_port(&action.port, &self.container) {
                Ok(port) => tcp::probe(host, port, timeout).await,
                Err(why) => Answer::Error(why),
            };
        }
        if let Some(action) = &self.probe.grpc {
            let service = action.service.as_deref().unwrap_or_default();
            return match u16::try_from(action.port) {
                Ok(port) => grpc::probe(pod_ip, port, service, timeout).await,
                Err(_) => Answer::Error(format!("invalid port number: {}", action.port)),
            };
        }
        Answer::Error(format!("missing probe handler for {}:{}", self.pod.described(), self.container.name))
    }

    fn tell(&self, answer: &Answer) {
        let kind = self.kind.as_str();
        let (reason, message) = match answer {
            Answer::Success => return,
            Answer::Warning(output) => ("ProbeWarning", format!("{kind} probe warning: {output}")),
            Answer::Failure(output) => ("Unhealthy", format!("{kind} probe failed: {output}")),
            Answer::Error(why) => ("Unhealthy", format!("{kind} probe errored and resulted in unknown state: {why}")),
        };
        self.context.container_event(&self.pod, &self.container.name, EventType::Warning, reason, message);
    }

    fn labels(&self, result: &'static str) -> ProbeLabels {
        ProbeLabels {
            probe_type: self.kind.as_str(),
            result,
            container: self.container.name.clone(),
            pod: self.pod.name().to_owned(),
            namespace: self.pod.namespace().to_owned(),
            pod_uid: self.pod.uid().to_owned(),
        }
    }

    fn believe(&self, id: &str, outcome: Outcome) {
        let news = self.results.lock().unwrap_or_else(PoisonError::into_inner).set(self.kind, id, outcome);
        if news {
            self.handle.wake();
        }
    }

    fn seconds(&self, value: Option<i32>, default: u64) -> Duration {
        Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
    }
}

/// What is counted goes with the probe, or the series would grow with every pod there ever was.
impl Drop for Prober {
    fn drop(&mut self) {
        for result in RESULTS {
            self.context.metrics.probes.remove(&self.labels(result));
        }
    }
}

const RESULTS: [&str; 3] = ["successful", "failed", "unknown"];

fn result(answer: &Answer) -> &'static str {
    match answer {
        Answer::Success | Answer::Warning(_) => RESULTS[0],
        Answer::Failure(_) => RESULTS[1],
        Answer::Error(_) => RESULTS[2],
    }
}

/// A probe's command sees only the literal variables of its container.
fn static_command(command: &[String], container: &Container) -> Vec<String> {
    let lookup = |name: &str| {
        let mut vars = container.env.iter().flatten();
        vars.find(|var| var.name == name).map(|var| var.value.clone().unwrap_or_default())
    };
    command.iter().map(|word| expand(word, lookup)).collect()
}
