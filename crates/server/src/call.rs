//! One request that may proceed: who asks, for what, with which side notes.

use std::sync::{Arc, Mutex, PoisonError};

use orlop_client::transport::UserInfo;

use crate::audit::Trail;
use crate::request::RequestInfo;
use crate::resource::Resource;

/// An authenticated, authorized request for a resource. The body travels beside it.
pub struct Call {
    pub info: RequestInfo,
    pub user: Arc<UserInfo>,
    pub resource: Resource,
    /// Head of the HTTP request; its extensions hold the `Peer` and a possible `OnUpgrade`.
    pub head: http::request::Parts,
    pub warnings: Warnings,
    pub audit_id: Arc<str>,
    pub trail: Trail,
}

impl Call {
    /// The field manager a write without `fieldManager` goes by: the user agent up to its slash.
    pub fn manager(&self, asked: &str) -> String {
        let agent = self.head.headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        orlop_api::managed_fields::manager_name(asked, agent)
    }
}

/// Texts for `Warning` headers, collected along the way, each once.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }

    /// What is not right about a body though it can be read; of YAML, line by line.
    pub fn add_strict(&self, text: &str) {
        let lines = text.strip_prefix("error converting YAML to JSON: ").unwrap_or(text);
        match lines.strip_prefix("yaml: unmarshal errors:\n") {
            Some(lines) => lines.lines().for_each(|line| self.add(line.trim())),
            None => self.add(text),
        }
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
