//! The default RBAC policy, and keeping it there.
//!
//! `policy.txt` holds upstream's facts (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`),
//! `additions.txt` ours. At start every object is created, or completed where something is
//! missing; objects annotated `rbac.authorization.kubernetes.io/autoupdate: "false"` are left alone.

mod ensure;
mod policy;
mod reconcile;

pub use ensure::{BootstrapError, ensure};
#[cfg(test)]
pub(super) use policy::parse_rule;
pub use policy::{cluster_role_rules, objects};
pub use reconcile::{Step, reconcile};
