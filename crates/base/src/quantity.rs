//! `resource.Quantity`: a decimal number with a unit suffix (`500m`, `1536Mi`, `12e6`).
//!
//! Parsing, rounding, caps and the canonical text follow `k8s.io/apimachinery/pkg/api/resource`,
//! quirks included: a text that upstream takes for canonical on sight is kept as it was written.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

mod parse;

use parse::{Parts, Suffix};

/// How a quantity prints its exponent; remembered from the text it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    DecimalSi,
}

/// An exact decimal: `mantissa * 10^exponent`.
///
/// Upstream's mantissa has no bound; here it holds 38 digits, which is more than any cluster adds up to
/// (2^63 at nano precision has 28).
#[derive(Clone, Debug)]
pub struct Quantity {
    mantissa: i128,
    exponent: i32,
    format: Format,
    /// The text as written, where upstream keeps it.
    text: Option<Box<str>>,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Finest precision kept: 10^-9. Anything below is rounded away from zero.
const NANO: i32 = -9;
/// Digits an `i128` always holds.
const MAX_DIGITS: usize = 38;
/// Far beyond any cluster. What is larger is taken for this, so that what is written is read as the same.
const MAX_EXPONENT: i32 = 999_999;
/// Digits an `i64` always holds; upstream's fast path ends there.
const MAX_I64_DIGITS: i32 = 18;

impl Quantity {
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0, format: Format::DecimalSi, text: None };

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { mantissa: value.into(), exponent: 0, format, text: None }
    }

    /// Thousandths.
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self { mantissa: value.into(), exponent: -3, format, text: None }
    }

    /// Reads the text of a quantity.
    pub fn parse(text: &str) -> Result<Self, ParseQuantityError> {
        let parts = Parts::split(text)?;
        let suffix = Suffix::read(parts.suffix).ok_or(ParseQuantityError::Suffix)?;
        parts.value(suffix, text)
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// The value in whole units, rounded away from zero, saturating.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// The value in thousandths, rounded away from zero, saturating.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The value in units of `10^exponent`, rounded away from zero, saturating.
    pub fn scaled_value(&self, exponent: i32) -> i64 {
        let (scaled, _) = rescale(self.mantissa, self.exponent, exponent);
        scaled.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The whole value if it is an integer that an `i64` holds.
    pub fn as_i64(&self) -> Option<i64> {
        let (whole, exact) = rescale(self.mantissa, self.exponent, 0);
        if exact { whole.try_into().ok() } else { None }
    }

    pub fn as_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.exponent)
    }

    /// Adds; zero takes over the other's format.
    pub fn add(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.text = None;
        if other.is_zero() {
            return;
        }
        let low = if self.is_zero() { other.exponent } else { self.exponent.min(other.exponent) };
        let (a, _) = rescale(self.mantissa, self.exponent, low);
        let (b, _) = rescale(other.mantissa, other.exponent, low);
        self.mantissa = a.saturating_add(b);
        self.exponent = low;
    }

    /// Subtracts; zero takes over the other's format.
    pub fn sub(&mut self, other: &Self) {
        self.add(&Self { mantissa: -other.mantissa, text: None, ..other.clone() });
    }

    pub fn neg(&mut self) {
        self.mantissa = -self.mantissa;
        self.text = None;
    }

    /// Multiplies by a whole number, saturating.
    pub fn mul(&mut self, factor: i64) {
        self.mantissa = self.mantissa.saturating_mul(factor.into());
        self.text = None;
    }

    /// Rounds away from zero to a multiple of `10^exponent`; says whether nothing was lost.
    pub fn round_up(&mut self, exponent: i32) -> bool {
        if self.exponent >= exponent {
            return true;
        }
        let (mantissa, exact) = rescale(self.mantissa, self.exponent, exponent);
        *self = Self { mantissa, exponent, format: self.format, text: None };
        exact
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = self.mantissa.signum().cmp(&other.mantissa.signum());
        if by_sign != Ordering::Equal || self.is_zero() {
            return by_sign;
        }
        let negative = self.mantissa < 0;
        let (a, b) = (self.mantissa.unsigned_abs(), other.mantissa.unsigned_abs());
        let magnitude = |digits: u128, exponent: i32| i64::from(digits.ilog10()) + i64::from(exponent);
        let by_size = magnitude(a, self.exponent).cmp(&magnitude(b, other.exponent)).then_with(|| {
            // Same magnitude: aligning adds at most the other's digits, so nothing overflows.
            let low = self.exponent.min(other.exponent);
            let align = |digits: u128, exponent: i32| digits.saturating_mul(pow10((exponent - low) as u32));
            align(a, self.exponent).cmp(&align(b, other.exponent))
        });
        if negative { by_size.reverse() } else { by_size }
    }
}

/// The canonical text: no fraction, the largest suffix that loses nothing.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        let (whole, exact) = rescale(self.mantissa, self.exponent, 0);
        if self.format == Format::BinarySi && exact && whole.unsigned_abs() >= 1024 {
            let (amount, power) = strip_factors(whole, 1024);
            return write!(f, "{amount}{}", BINARY_SUFFIXES.get(power as usize).copied().unwrap_or_default());
        }
        let (amount, zeros) = strip_factors(self.mantissa, 10);
        let exponent = self.exponent.saturating_add(zeros);
        let excess = exponent.rem_euclid(3);
        let exponent = exponent - excess;
        // Not by a product: the number may have all the digits there are.
        write!(f, "{amount}{}", &"00"[..excess as usize])?;
        match (self.format, exponent) {
            (_, 0) => Ok(()),
            (Format::DecimalExponent, _) => write!(f, "e{exponent}"),
            _ => f.write_str(decimal_suffix(exponent)),
        }
    }
}

const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// Beyond `E` upstream prints no suffix at all; so do we.
fn decimal_suffix(exponent: i32) -> &'static str {
    DECIMAL_SUFFIXES.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s)
}

fn pow10(exponent: u32) -> u128 {
    10u128.checked_pow(exponent).unwrap_or(u128::MAX)
}

/// `mantissa * 10^from` in units of `10^to`, rounded away from zero; whether that was exact.
fn rescale(mantissa: i128, from: i32, to: i32) -> (i128, bool) {
    if from >= to {
        let factor = i128::try_from(pow10(from.abs_diff(to))).unwrap_or(i128::MAX);
        return (mantissa.saturating_mul(factor), mantissa.checked_mul(factor).is_some());
    }
    let divisor = i128::try_from(pow10(from.abs_diff(to))).unwrap_or(i128::MAX);
    let (quotient, rest) = (mantissa / divisor, mantissa % divisor);
    (quotient + rest.signum(), rest == 0)
}

/// Compares `|mantissa| * 10^exponent` with a whole number.
fn cmp_abs(mantissa: i128, exponent: i32, whole: i128) -> Ordering {
    let quantity = Quantity { mantissa: mantissa.saturating_abs(), exponent, ..Quantity::ZERO };
    quantity.cmp(&Quantity { mantissa: whole, ..Quantity::ZERO })
}

fn strip_factors(mut value: i128, factor: i128) -> (i128, i32) {
    let mut times = 0;
    while value != 0 && value % factor == 0 {
        value /= factor;
        times += 1;
    }
    (value, times)
}

#[cfg(test)]
mod tests;
