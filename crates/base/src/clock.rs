//! Wall-clock time that follows tokio's clock, so that paused (virtual) time moves it too.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::{Duration, Instant};

/// Start of virtual wall time: 2026-01-01T00:00:00Z.
const VIRTUAL_EPOCH: Duration = Duration::from_secs(1_767_225_600);

thread_local! {
    /// Each thread may run a simulation of its own, on a clock of its own; to all others it is what it is.
    static VIRTUAL_ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Where this thread pauses time, wall time is derived from tokio's instant; else it is the system's.
fn since_epoch() -> Duration {
    VIRTUAL_ORIGIN.get().map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        |origin| VIRTUAL_EPOCH + Instant::now().duration_since(origin),
    )
}

/// Derives wall time from tokio's (paused) clock from now on, for this thread: a runtime of one thread is all on
/// it. For simulations: it is the start of virtual time right now, so that each one begins at the same instant.
pub fn use_virtual_time() {
    VIRTUAL_ORIGIN.set(Some(Instant::now()));
}

/// Nanoseconds since the Unix epoch.
pub fn unix_nanos() -> i64 {
    i64::try_from(since_epoch().as_nanos()).unwrap_or(i64::MAX)
}

/// Seconds since the Unix epoch.
pub fn unix_seconds() -> i64 {
    unix_nanos().div_euclid(1_000_000_000)
}

/// Now, to the nanosecond.
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(unix_nanos())).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// `2026-11-21T03:32:00Z`: `metav1.Time` of now.
pub fn rfc3339() -> String {
    format_seconds(unix_seconds())
}

/// `metav1.Time` of a Unix time in seconds.
pub fn format_seconds(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// `metav1.MicroTime` of now: always six digits of fraction.
pub fn rfc3339_micro() -> String {
    format!("{:.6}", now())
}
