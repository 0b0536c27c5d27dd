//! The terse way to hand a kind's validation hooks to the rules in `crate::validation`.

/// Inside `impl Kind`: `validation! { create: pod::pod, update: pod::update, "status": pod::status, warn: pod::warnings }`.
/// Rules are paths below `crate::validation`.
macro_rules! validation {
    (
        $(create: $create:path,)?
        $(update: $update:path,)?
        $($subresource:literal: $rule:path,)*
        $(warn: $warn:path,)?
    ) => {
        $(fn validate(&self, obj: &Value) -> $crate::field::ErrorList {
            use $crate::validation::*;
            let mut errors = $crate::field::ErrorList::default();
            $create(obj, &mut errors);
            errors
        })?

        $(fn validate_update(&self, obj: &Value, old: &Value) -> $crate::field::ErrorList {
            use $crate::validation::*;
            let mut errors = $crate::field::ErrorList::default();
            $update(obj, old, &mut errors);
            errors
        })?

        validation!(@subresources $($subresource: $rule,)*);

        $(fn warnings(&self, subresource: &str, obj: &Value, old: Option<&Value>) -> Vec<String> {
            use $crate::validation::*;
            if subresource.is_empty() { $warn(obj, old) } else { Vec::new() }
        })?
    };
    (@subresources) => {};
    (@subresources $($subresource:literal: $rule:path,)+) => {
        fn validate_subresource(&self, subresource: &str, obj: &Value, old: &Value) -> $crate::field::ErrorList {
            use $crate::validation::*;
            let mut errors = $crate::field::ErrorList::default();
            match subresource {
                $($subresource => $rule(obj, old, &mut errors),)+
                _ => {}
            }
            errors
        }
    };
}
pub(super) use validation;
