//! Keys within JSON patch paths.

use super::strings::text;
use crate::decls::Op;
use crate::value::Value;

pub fn op(function: &str, _overload: &str) -> Option<Op> {
    (function == "jsonpatch.escapeKey")
        .then_some(|_, args| Ok(Value::string(text(&args[0])?.replace('~', "~0").replace('/', "~1"))))
}
