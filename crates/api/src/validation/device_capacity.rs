//! How much of a device one request may take, where several share it (KEP 5075).

use serde_json::Value;

use super::devices::few;
use super::prelude::*;
use super::resources::quantity;
use crate::quantity::{Format, Quantity};

const MAX_VALID_VALUES: usize = 10;

/// `shared`: the device may be allocated more than once.
pub(super) fn capacity(capacity: &Value, shared: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let (policy, path) = (&capacity["requestPolicy"], path.child("requestPolicy"));
    if policy.is_null() {
        return;
    }
    if !shared {
        return errors.forbidden(&path, "allowMultipleAllocations must be true");
    }
    let whole = quantity(&capacity["value"]);
    let (values, range) = (policy.list("validValues"), policy.has("validRange"));
    let default = policy.has("default").then(|| quantity(&policy["default"]));
    match (values.is_empty(), range, default) {
        (false, true, _) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the \
                          same time";
            errors.forbidden(&path, detail);
        }
        (false, false, None) => errors.required(&path.child("default"), "required when validValues is defined"),
        (true, true, None) => errors.required(&path.child("default"), "required when validRange is defined"),
        (false, false, Some(default)) => valid_values(values, &default, &whole, &path.child("validValues"), errors),
        (true, true, Some(default)) => {
            let range = Range { bounds: &policy["validRange"], default, whole };
            range.check(&path.child("validRange"), errors);
        }
        (true, false, _) => {}
    }
}

fn valid_values(values: &[Value], default: &Quantity, whole: &Quantity, path: &Path<'_>, errors: &mut ErrorList) {
    let quantities: Vec<Quantity> = values.iter().map(quantity).collect();
    for (i, pair) in quantities.windows(2).enumerate().filter(|(_, pair)| pair[0] > pair[1]) {
        errors.invalid(&path.index(i + 1), pair[1].to_string(), "values must be sorted in ascending order");
    }
    if values.len() > MAX_VALID_VALUES {
        errors.too_many(path, values.len(), MAX_VALID_VALUES);
    }
    for (i, _) in few(values, MAX_VALID_VALUES).filter(|(i, _)| quantities[*i] > *whole) {
        let detail = format!("option is larger than capacity value: {whole}");
        errors.invalid(&path.index(i), quantities[i].to_string(), detail);
    }
    for (i, _) in few(values, MAX_VALID_VALUES) {
        let number = quantities[i].value();
        if quantities[..i].iter().any(|other| other.value() == number) {
            errors.duplicate(&path.index(i), number.to_string());
        }
    }
    if !few(values, MAX_VALID_VALUES).any(|(i, _)| quantities[i] == *default) {
        errors.invalid(path, default.to_string(), "default value is not valid according to the requestPolicy");
    }
}

struct Range<'a> {
    bounds: &'a Value,
    default: Quantity,
    whole: Quantity,
}

impl Range<'_> {
    fn bound(&self, field: &str) -> Option<Quantity> {
        self.bounds.has(field).then(|| quantity(&self.bounds[field]))
    }

    fn check(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let (default, whole) = (&self.default, &self.whole);
        let Some(min) = self.bound("min") else {
            return errors.required(&path.child("min"), "required when validRange is defined");
        };
        let mut wrong = |field: &str, value: &Quantity, detail: String| {
            errors.invalid(&path.child(field), value.to_string(), detail);
        };
        if min > *whole {
            wrong("min", &min, format!("min is larger than capacity value: {whole}"));
        }
        if *default < min {
            wrong("default", default, format!("default is less than min: {min}"));
        }
        if let Some(max) = self.bound("max") {
            if min > max {
                wrong("max", &min, format!("min is larger than max: {max}"));
            }
            if max > *whole {
                wrong("max", &max, format!("max is larger than capacity value: {whole}"));
            }
            if *default > max {
                wrong("default", default, format!("default is more than max: {max}"));
            }
        }
        if let Some(step) = self.bound("step") {
            self.check_step(&min, &step, path, errors);
        }
    }

    fn check_step(&self, min: &Quantity, step: &Quantity, path: &Path<'_>, errors: &mut ErrorList) {
        let at = path.child("step");
        if step.sign() <= 0 {
            return errors.invalid(&at, step.to_string(), "must be greater than zero");
        }
        let mut first = min.clone();
        first.add(step);
        if first > self.whole {
            let detail = format!("one step {first} is larger than capacity value: {}", self.whole);
            errors.invalid(&at, step.to_string(), detail);
        }
        let max = self.bound("max");
        let bounds =
            [("default", Some(&self.default)), ("min", Some(min)), ("max", max.as_ref()), ("step", Some(step))];
        let mut fits = true;
        for (field, bound) in bounds.into_iter().filter_map(|(field, bound)| Some((field, bound?))) {
            fits &= fits_i64(bound, &path.child(field), errors);
        }
        for value in [Some(&self.default), max.as_ref()].into_iter().flatten().filter(|_| fits) {
            if value.value().wrapping_sub(min.value()) % step.value() != 0 {
                let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
                errors.invalid(&at, value.to_string(), detail);
            }
        }
    }
}

/// Steps are counted in whole numbers.
fn fits_i64(bound: &Quantity, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let detail = if bound.sign() < 0 {
        NOT_NEGATIVE
    } else if *bound > Quantity::new(i64::MAX, Format::DecimalSi) {
        "must not be larger than 9223372036854775807"
    } else {
        return true;
    };
    errors.invalid(path, bound.to_string(), detail);
    false
}
