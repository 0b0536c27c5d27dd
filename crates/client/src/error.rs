//! What can go wrong with one API call.

use orlop_api::status::StatusError;

use crate::transport::BoxError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed API call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a failure; the text is the server's.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The request or its answer was lost: a write may or may not have happened.
    #[error("{method} {path}")]
    Transport {
        method: http::Method,
        path: String,
        #[source]
        source: BoxError,
    },
    /// No answer within the client's patience: a write may or may not have happened.
    #[error("{method} {path}: no answer after {seconds} s")]
    Timeout { method: http::Method, path: String, seconds: u64 },
    /// The answer is not what was asked for.
    #[error("decoding the answer to {method} {path}")]
    Decode {
        method: http::Method,
        path: String,
        #[source]
        source: serde_json::Error,
    },
    /// The caller's request cannot be expressed (an empty name, a missing namespace).
    #[error("{0}")]
    Request(String),
}

impl Error {
    pub fn status(&self) -> Option<&StatusError> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(StatusError::is_not_found)
    }

    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(StatusError::is_conflict)
    }

    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(StatusError::is_already_exists)
    }

    pub fn is_expired(&self) -> bool {
        self.status().is_some_and(StatusError::is_expired)
    }

    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|s| s.code == 403)
    }

    /// Creation refused because the namespace is going away (`NamespaceTerminating` cause).
    pub fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|s| s.code == 403 && has_cause(s, "NamespaceTerminating"))
    }

    /// Nobody knows whether the write happened: the reply was lost, or the server failed midway.
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is::<crate::transport::NotSent>(),
            Self::Timeout { .. } | Self::Decode { .. } => true,
            Self::Status(status) => status.code >= 500,
            Self::Request(_) => false,
        }
    }
}

fn has_cause(status: &StatusError, reason: &str) -> bool {
    let causes = status.details.as_deref().and_then(|d| d["causes"].as_array());
    causes.is_some_and(|causes| causes.iter().any(|c| c["reason"] == reason))
}
