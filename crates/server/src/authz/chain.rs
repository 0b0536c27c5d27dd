//! The links of the chain that decides.

use std::sync::Arc;

use super::abac::Policies;
use super::webhook::Webhook;

/// One authorizer under its name, which the reasons of a refusal show.
#[derive(Clone)]
pub struct Link {
    pub name: String,
    pub mode: Mode,
}

#[derive(Clone)]
pub enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Abac(Arc<Policies>),
    Node,
    Rbac,
    Webhook(Arc<Webhook>),
}

impl Link {
    /// A link that goes by the name of its mode, as all but webhooks do.
    pub fn of(mode: Mode) -> Self {
        Self { name: mode.name().to_lowercase(), mode }
    }
}

impl Mode {
    /// As `--authorization-mode` has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AlwaysAllow => "AlwaysAllow",
            Self::AlwaysDeny => "AlwaysDeny",
            Self::Abac(_) => "ABAC",
            Self::Node => "Node",
            Self::Rbac => "RBAC",
            Self::Webhook(_) => "Webhook",
        }
    }
}
