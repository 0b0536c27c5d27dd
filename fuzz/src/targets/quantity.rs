//! Quantities and Go's durations.

use orlop_api::duration;
use orlop_api::quantity::Quantity;

use crate::Target;

pub const TARGET: Target = Target {
    name: "quantity",
    corpus: None,
    seeds: &[b"1500m", b"-12.5Gi", b"1e3", b"0.000000001n", b"1h2m3.5s", b"-1.5us"],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(quantity) = Quantity::parse(text) {
        let written = quantity.to_string();
        let again = Quantity::parse(&written).unwrap_or_else(|error| panic!("{error}: {written:?} of {text:?}"));
        assert_eq!(again.to_string(), written, "{text:?}");
        assert_eq!(again.sign(), quantity.sign(), "{text:?}");
        let mut doubled = quantity.clone();
        doubled.add(&quantity);
        doubled.sub(&quantity);
        let _ = (doubled.value(), doubled.milli_value(), doubled.as_f64());
    }
    if let Ok(nanos) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(nanos)), Ok(nanos), "{text:?}");
    }
}
