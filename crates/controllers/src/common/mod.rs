//! What several controllers need to know about pods, owners and conditions.

#[cfg(test)]
pub mod fixture;
pub mod owners;
pub mod pods;

use jiff::Timestamp;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Zero is left out where Go has `omitempty`.
pub fn nonzero(n: i32) -> Option<i32> {
    (n != 0).then_some(n)
}

/// `metav1.Time`: whole seconds, as it will come back from the server.
pub fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
