//! Functions, one file per library. `op` finds the code behind an overload.

pub mod authorizer;
pub mod cidr;
pub mod format;
mod format_number;
pub mod ip;
mod json_patch;
mod lists;
pub mod named_formats;
mod optionals;
mod quantity;
mod regexes;
pub mod semver;
mod sets;
mod sorting;
pub mod standard;
mod strings;
mod times;
pub mod urls;

use crate::decls::Op;

/// The code behind an overload; operators that evaluate their arguments themselves have none.
pub fn op(function: &str, overload: &str) -> Option<Op> {
    let libraries: [fn(&str, &str) -> Option<Op>; 15] = [
        standard::op,
        times::op,
        strings::op,
        format::op,
        lists::op,
        sorting::op,
        sets::op,
        regexes::op,
        optionals::op,
        quantity::op,
        semver::op,
        urls::op,
        ip::op,
        cidr::op,
        json_patch::op,
    ];
    libraries
        .into_iter()
        .find_map(|library| library(function, overload))
        .or_else(|| named_formats::op(function, overload))
        .or_else(|| authorizer::op(function, overload))
}
