//! One request that may proceed: who asks, for what, with which side notes.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{ACCEPT, USER_AGENT};
use orlop_client::transport::UserInfo;

use crate::audit::{self, Trail};
use crate::metrics::RequestLabels;
use crate::request::RequestInfo;
use crate::resource::Resource;
use crate::trace::{Attribute, Value};

const UNKNOWN: &str = "unknown";

/// An authenticated, authorized request for a resource. The body travels beside it.
pub struct Call {
    pub info: Arc<RequestInfo>,
    pub user: Arc<UserInfo>,
    pub resource: Resource,
    /// Head of the HTTP request; its extensions hold the `Peer` and a possible `OnUpgrade`.
    pub head: http::request::Parts,
    pub warnings: Warnings,
    pub audit_id: Arc<str>,
    pub trail: Trail,
}

impl Call {
    /// What upstream's spans of a verb say of the request (`k8s.io/apiserver/pkg/endpoints/handlers/trace_util.go`).
    pub fn trace_attributes(&self) -> Vec<Attribute> {
        let Self { info, head, .. } = self;
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let client = audit::source_ips(head).first().map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
        let agent = Some(header(USER_AGENT)).filter(|agent| !agent.is_empty()).unwrap_or(UNKNOWN);
        let protocol = format!("{:?}", head.version);
        let labels = RequestLabels::of(info, &head.headers);
        let said = [
            ("accept", header(ACCEPT)),
            ("client", &client),
            ("api-group", &info.api_group),
            ("api-version", &info.api_version),
            ("name", &info.name),
            ("subresource", &info.subresource),
            ("namespace", &info.namespace),
            ("protocol", &protocol),
            ("resource", &info.resource),
            ("scope", labels.scope),
            ("url", &info.path),
            ("user-agent", agent),
            ("verb", &labels.verb),
        ];
        said.map(|(name, text)| (name, Value::Text(text.to_owned()))).into()
    }

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
