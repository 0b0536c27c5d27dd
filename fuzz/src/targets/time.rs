//! Times of `metav1.Time` and `metav1.MicroTime`.

use orlop_api::time::{Precision, normalise, parse};

use crate::Target;

pub const TARGET: Target = Target {
    name: "time",
    corpus: None,
    seeds: &[b"2026-01-01T00:00:00Z", b"2026-02-29T23:59:60.123456789+23:59", b"0001-01-01T00:00:00-00:00"],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for precision in [Precision::Seconds, Precision::Micros] {
        let Ok(moment) = parse(text, precision) else { continue };
        if let Ok(Some(normal)) = normalise(text, precision) {
            assert_eq!(parse(&normal, precision).map(|again| again.seconds).ok(), Some(moment.seconds), "{text:?}");
        }
    }
}
