//! Equality: across the kinds of numbers, never an error.

use super::Value;
use super::compare::{double_int, double_uint};

impl Value<'_> {
    #[expect(clippy::float_cmp, reason = "CEL's doubles are equal when IEEE 754 says so")]
    pub fn equals(&self, other: &Self) -> bool {
        #[allow(clippy::enum_glob_use, reason = "a line for each pair of kinds")]
        use Value::*;
        match (self, other) {
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Uint(a), Uint(b)) => a == b,
            (Double(a), Double(b)) => a == b,
            (Int(a), Uint(b)) | (Uint(b), Int(a)) => u64::try_from(*a) == Ok(*b),
            (Int(a), Double(b)) | (Double(b), Int(a)) => !b.is_nan() && double_int(*b, *a).is_eq(),
            (Uint(a), Double(b)) | (Double(b), Uint(a)) => !b.is_nan() && double_uint(*b, *a).is_eq(),
            (String(a), String(b)) => **a == **b,
            (Bytes(a), Bytes(b)) => a == b,
            (Duration(a), Duration(b)) => a == b,
            (Timestamp(a), Timestamp(b)) => a.moment() == b.moment(),
            (List(a), List(b)) => a.equals(b),
            (Map(a), Map(b)) => a.equals(b),
            (Type(a), Type(b)) => a == b,
            (Optional(None), Optional(None)) => true,
            (Optional(Some(a)), Optional(Some(b))) => a.equals(b),
            (Quantity(a), Quantity(b)) => a == b,
            (Ip(a), Ip(b)) => a == b,
            (Cidr(a), Cidr(b)) => a == b,
            (Url(a), Url(b)) => a == b,
            (Semver(a), Semver(b)) => a == b,
            (Format(a), Format(b)) => std::ptr::eq(*a, *b),
            (Object(a), Object(b)) => {
                a.type_name == b.type_name
                    && a.fields.len() == b.fields.len()
                    && a.fields.iter().all(|(name, value)| {
                        b.fields.iter().any(|(other, other_value)| name == other && value.equals(other_value))
                    })
            }
            (Opaque(a), Opaque(b)) => a == b,
            _ => false,
        }
    }
}
