//! libFuzzer's program. `ORLOP_FUZZ_TARGET` names the target; `scripts/fuzz` says how it is called.

#![no_main]

use std::sync::LazyLock;

use orlop_fuzz::{TARGETS, Target, target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ORLOP_FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    target(&name).unwrap_or_else(|| panic!("ORLOP_FUZZ_TARGET is {name:?}, none of {}", names()))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (CHOSEN.run)(bytes));
