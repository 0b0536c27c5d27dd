//! Why a call has no answer.

use std::fmt;

use http::HeaderMap;

use crate::protobuf::Malformed;

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

/// In the order of their numbers.
const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl Code {
    pub const OK: Code = Code(0);
    pub const INVALID_ARGUMENT: Code = Code(3);
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    pub const OUT_OF_RANGE: Code = Code(11);
    pub const UNAVAILABLE: Code = Code(14);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({})", self.0),
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// No connection came about: nothing was sent.
    #[error("connecting to {endpoint}: {why}")]
    Unreachable { endpoint: String, why: String },
    /// Maybe carried out.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Maybe carried out.
    #[error("no answer came in time")]
    TimedOut,
    /// The peer's own words.
    #[error("{message}")]
    Refused { code: Code, message: String },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Failure {
    /// Whether the peer may have done, or may yet do, what it was asked.
    pub fn is_doubtful(&self) -> bool {
        !matches!(self, Failure::Unreachable { .. })
    }

    /// The code that Go's client would report.
    pub fn code(&self) -> Code {
        match self {
            Failure::Unreachable { .. } | Failure::Broken(_) => Code::UNAVAILABLE,
            Failure::TimedOut => Code::DEADLINE_EXCEEDED,
            Failure::Refused { code, .. } => *code,
            Failure::Malformed(_) => Code(13),
        }
    }
}

/// As Go prints a status.
#[derive(Debug, thiserror::Error)]
#[error("rpc error: code = {code} desc = {failure}", code = .failure.code())]
pub struct CallError {
    failure: Failure,
}

impl CallError {
    pub fn code(&self) -> Code {
        self.failure.code()
    }

    /// Nothing was sent.
    pub fn is_unreachable(&self) -> bool {
        !self.failure.is_doubtful()
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self { failure }
    }
}

impl From<Malformed> for CallError {
    fn from(malformed: Malformed) -> Self {
        Self { failure: malformed.into() }
    }
}

pub(super) fn broken(error: hyper::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Failure::Broken(text)
}

/// The status among these headers, if it is there and bad.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status") else { return Ok(()) };
    match code.parse().map(Code) {
        Ok(Code::OK) => Ok(()),
        Ok(code) => Err(Failure::Refused { code, message: unescaped(text("grpc-message").unwrap_or_default()) }),
        Err(_) => Err(Malformed.into()),
    }
}

/// `grpc-message` is percent-encoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_statuses_are_percent_encoded() {
        assert_eq!(unescaped("etcdserver: no%20leader%"), "etcdserver: no leader%");
        assert_eq!(unescaped("100%zz %E2%9C%93"), "100%zz \u{2713}");
    }
}
