//! Asking containers whether they have started, live, and are ready: one file per kind of
//! question, one worker per probe.

pub mod command;
pub mod grpc;
pub mod http;
pub mod judge;
pub mod tcp;
pub mod worker;

use std::collections::BTreeMap;

use crate::corev1::{Container, Probe};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// Not asked yet.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// As messages begin with it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// What is believed before the first answer.
    pub fn initial(self) -> Outcome {
        match self {
            Self::Startup => Outcome::Unknown,
            Self::Liveness => Outcome::Success,
            Self::Readiness => Outcome::Failure,
        }
    }
}

/// One answer of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Success,
    /// Success, with something to tell.
    Warning(String),
    Failure(String),
    /// The question could not be put; the answer does not count.
    Error(String),
}

/// What is believed of each container instance, after thresholds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeResults {
    results: BTreeMap<(ProbeKind, String), Outcome>,
}

impl ProbeResults {
    pub fn get(&self, kind: ProbeKind, container_id: &str) -> Option<Outcome> {
        self.results.get(&(kind, container_id.to_owned())).copied()
    }

    pub fn startup(&self, container_id: &str) -> Option<Outcome> {
        self.get(ProbeKind::Startup, container_id)
    }

    pub fn liveness(&self, container_id: &str) -> Option<Outcome> {
        self.get(ProbeKind::Liveness, container_id)
    }

    pub fn readiness(&self, container_id: &str) -> Option<Outcome> {
        self.get(ProbeKind::Readiness, container_id)
    }

    /// Returns whether this is news.
    pub fn set(&mut self, kind: ProbeKind, container_id: &str, outcome: Outcome) -> bool {
        self.results.insert((kind, container_id.to_owned()), outcome) != Some(outcome)
    }

    pub fn remove(&mut self, kind: ProbeKind, container_id: &str) {
        self.results.remove(&(kind, container_id.to_owned()));
    }
}
