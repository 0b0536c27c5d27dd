//! The terse way to write down a kind's field labels.

use std::borrow::Cow;

use serde_json::Value;

use super::read::Read;

/// `field_labels!["spec.nodeName", "spec.hostNetwork" => flag, ...]`: a label is the path it reads
/// unless a reader (or an expression of type `fn(&Value) -> Cow<str>`) follows.
macro_rules! field_labels {
    (@read $label:literal) => { |obj| $crate::kinds::labels::text(obj, $label) };
    (@read $label:literal flag) => { |obj| $crate::kinds::labels::flag(obj, $label) };
    (@read $label:literal count) => { |obj| $crate::kinds::labels::count(obj, $label) };
    (@read $label:literal $path:literal) => { |obj| $crate::kinds::labels::text(obj, $path) };
    (@read $label:literal ($read:expr)) => { $read };
    ($($label:literal $(=> $how:tt)?),* $(,)?) => {{
        static LABELS: &[$crate::kind::FieldLabel] = &[$($crate::kind::FieldLabel {
            label: std::borrow::Cow::Borrowed($label),
            value: $crate::kind::FieldValue::Read(field_labels!(@read $label $($how)?)),
        }),*];
        $crate::kind::FieldLabels::Builtin(LABELS)
    }};
}
pub(super) use field_labels;

pub fn text<'a>(obj: &'a Value, path: &str) -> Cow<'a, str> {
    obj.text(path).into()
}

/// `true` or `false`; absent is `false`.
pub fn flag<'a>(obj: &'a Value, path: &str) -> Cow<'a, str> {
    if obj.flag(path) { "true" } else { "false" }.into()
}

/// A number; absent is `0`.
pub fn count<'a>(obj: &'a Value, path: &str) -> Cow<'a, str> {
    obj.int(path).to_string().into()
}
