//! `/readyz/kms-providers`: whether the plugins that hold keys are well.

use std::sync::Arc;

use super::{Encryption, Rules, provider};
use crate::health::Check;

impl Encryption {
    /// There where a plugin is asked, or may be after the file has changed.
    pub fn health_check(self: &Arc<Self>, automatic_reload: bool) -> Option<Check> {
        if self.rules.load().kms.is_empty() && !automatic_reload {
            return None;
        }
        let encryption = self.clone();
        Some(Check::new("kms-providers", move |_| encryption.rules.load().health()))
    }
}

impl Rules {
    pub(super) fn health(&self) -> Result<(), String> {
        let asked = self.kms.iter().enumerate();
        let failures: Vec<String> =
            asked.filter_map(|(at, kms)| Some(format!("kms-provider-{at}: {}", kms.health().err()?))).collect();
        if failures.is_empty() { Ok(()) } else { Err(provider::aggregate(&failures)) }
    }
}
