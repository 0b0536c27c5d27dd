//! Order: within a type, and across the kinds of numbers.

use std::cmp::Ordering;

use super::{Result, Value, fail, no_overload};

impl Value<'_> {
    /// Whether the type has an order at all.
    pub fn is_comparable(&self) -> bool {
        matches!(
            self,
            Self::Bool(_)
                | Self::Int(_)
                | Self::Uint(_)
                | Self::Double(_)
                | Self::String(_)
                | Self::Bytes(_)
                | Self::Duration(_)
                | Self::Timestamp(_)
        )
    }

    pub fn compare(&self, other: &Self) -> Result<Ordering> {
        #[allow(clippy::enum_glob_use, reason = "a line for each pair of kinds")]
        use Value::*;
        if matches!(self, Double(a) if a.is_nan()) || matches!(other, Double(b) if b.is_nan()) && is_number(self) {
            return fail("NaN values cannot be ordered");
        }
        Ok(match (self, other) {
            (Bool(a), Bool(b)) => a.cmp(b),
            (Int(a), Int(b)) => a.cmp(b),
            (Uint(a), Uint(b)) => a.cmp(b),
            (Double(a), Double(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Int(a), Uint(b)) => int_uint(*a, *b),
            (Uint(a), Int(b)) => int_uint(*b, *a).reverse(),
            (Double(a), Int(b)) => double_int(*a, *b),
            (Int(a), Double(b)) => double_int(*b, *a).reverse(),
            (Double(a), Uint(b)) => double_uint(*a, *b),
            (Uint(a), Double(b)) => double_uint(*b, *a).reverse(),
            (String(a), String(b)) => (**a).cmp(&**b),
            (Bytes(a), Bytes(b)) => a.cmp(b),
            (Duration(a), Duration(b)) => a.cmp(b),
            (Timestamp(a), Timestamp(b)) => a.moment().cmp(&b.moment()),
            _ => return no_overload(),
        })
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn int_uint(a: i64, b: u64) -> Ordering {
    i128::from(a).cmp(&i128::from(b))
}

pub(super) fn double_int(a: f64, b: i64) -> Ordering {
    if a < i64::MIN as f64 {
        Ordering::Less
    } else if a > i64::MAX as f64 {
        Ordering::Greater
    } else {
        a.partial_cmp(&(b as f64)).unwrap_or(Ordering::Equal)
    }
}

pub(super) fn double_uint(a: f64, b: u64) -> Ordering {
    if a < 0.0 {
        Ordering::Less
    } else if a > u64::MAX as f64 {
        Ordering::Greater
    } else {
        a.partial_cmp(&(b as f64)).unwrap_or(Ordering::Equal)
    }
}
