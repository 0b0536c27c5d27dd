//! What several controllers need to know about pods, owners and conditions.

#[cfg(test)]
pub mod fixture;
pub mod history;
pub mod owners;
pub mod pods;

use jiff::Timestamp;
use orlop_api::intstr::{Rounding, percent};
use orlop_api::typed::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_api::typed::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Zero is left out where Go has `omitempty`.
pub fn nonzero(n: i32) -> Option<i32> {
    (n != 0).then_some(n)
}

/// `metav1.Time`: whole seconds, as it will come back from the server.
pub fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

pub fn scaled(value: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    let total = i64::from(total);
    let scaled = match value {
        IntOrString::Int(n) => return *n,
        // Validation lets only percentages through.
        IntOrString::String(text) => percent(text).unwrap_or(0) * total,
    };
    let share = match rounding {
        Rounding::Up => -(-scaled).div_euclid(100),
        Rounding::Down => scaled.div_euclid(100),
    };
    share.try_into().unwrap_or(i32::MAX)
}
