//! libFuzzer's program. `ORLOP_FUZZ_TARGET` names the target, `ORLOP_FUZZ_CORPUS` the directory that its seeds are put
//! into; `scripts/fuzz` says how it is called.

#![no_main]

use std::sync::LazyLock;

use orlop_fuzz::{TARGETS, Target, target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ORLOP_FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    target(&name).unwrap_or_else(|| panic!("ORLOP_FUZZ_TARGET is {name:?}, none of {}", names()))
});

/// Before libFuzzer reads the directory.
fn plant() {
    let Some(directory) = std::env::var_os("ORLOP_FUZZ_CORPUS") else { return };
    for (number, seed) in CHOSEN.all_seeds().into_iter().enumerate() {
        std::fs::write(std::path::Path::new(&directory).join(format!("seed-{number}")), seed)
            .expect("a seed is written");
    }
}

libfuzzer_sys::fuzz_target!(init: plant(), |bytes: &[u8]| (CHOSEN.run)(bytes));
