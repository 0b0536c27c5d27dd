//! What etcd means by refusing.

use super::grpc::{Code, Failure};

pub(crate) trait Reason {
    /// Whether another member, or this one a moment later, may do it.
    fn is_passing(&self) -> bool;

    /// "etcdserver: request is too large", or half a MiB later "grpc: received message larger than max".
    fn is_too_large(&self) -> bool;

    /// "etcdserver: mvcc: required revision has been compacted".
    fn is_compacted(&self) -> bool;
}

impl Reason for Failure {
    fn is_passing(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Broken(_) | Failure::TimedOut => true,
            Failure::Refused { code, message } => {
                matches!(*code, Code::UNAVAILABLE | Code::DEADLINE_EXCEEDED)
                    || *code == Code::RESOURCE_EXHAUSTED && message.contains("too many requests")
            }
            Failure::Malformed(_) => false,
        }
    }

    fn is_too_large(&self) -> bool {
        match self {
            Failure::Refused { code: Code::INVALID_ARGUMENT, message } => message.contains("too large"),
            Failure::Refused { code: Code::RESOURCE_EXHAUSTED, message } => message.contains("larger than max"),
            _ => false,
        }
    }

    fn is_compacted(&self) -> bool {
        matches!(self, Failure::Refused { code: Code::OUT_OF_RANGE, message } if message.contains("compacted"))
    }
}
