//! `resource.Quantity`: a decimal number with a unit suffix (`500m`, `1536Mi`, `12e6`).
//!
//! Parsing, rounding, caps and the canonical text follow `k8s.io/apimachinery/pkg/api/resource`,
//! quirks included: a text that upstream takes for canonical on sight is kept as it was written.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

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
        let (mut amount, zeros) = strip_factors(self.mantissa, 10);
        let mut exponent = self.exponent.saturating_add(zeros);
        let excess = exponent.rem_euclid(3);
        amount = amount.saturating_mul(pow10(excess as u32) as i128);
        exponent -= excess;
        match (self.format, exponent) {
            (_, 0) => write!(f, "{amount}"),
            (Format::DecimalExponent, _) => write!(f, "{amount}e{exponent}"),
            _ => write!(f, "{amount}{}", decimal_suffix(exponent)),
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

enum Suffix {
    Decimal(i32),
    Exponent(i32),
    /// Power of two.
    Binary(u32),
}

impl Suffix {
    fn read(text: &str) -> Option<Self> {
        if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == text) {
            return Some(Self::Decimal(*exponent));
        }
        if let Some(power) = BINARY_SUFFIXES.iter().position(|s| *s == text) {
            return Some(Self::Binary(power as u32 * 10));
        }
        let digits = text.strip_prefix(['e', 'E'])?;
        let exponent = digits.parse::<i64>().ok()?;
        // Far beyond any representable value either way; keeps later sums from overflowing.
        Some(Self::Exponent(exponent.clamp(-1_000_000, 1_000_000) as i32))
    }

    fn format(&self) -> Format {
        match self {
            Self::Decimal(_) => Format::DecimalSi,
            Self::Exponent(_) => Format::DecimalExponent,
            Self::Binary(_) => Format::BinarySi,
        }
    }
}

/// A text taken apart: sign, digits before and after the point, suffix.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, ParseQuantityError> {
        if text.is_empty() {
            return Err(ParseQuantityError::Format);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = digits(rest.trim_start_matches('0'));
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseQuantityError::Format);
        }
        Ok(Self { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix })
    }

    fn value(&self, suffix: Suffix, text: &str) -> Result<Quantity, ParseQuantityError> {
        let format = suffix.format();
        let (digits, dropped) = self.significant_digits()?;
        let (unsigned, scale) = match suffix {
            Suffix::Decimal(e) | Suffix::Exponent(e) => (Some(digits), e - dropped),
            Suffix::Binary(power) => (digits.checked_mul(1 << power), -dropped),
        };
        // Only binary quantities are capped.
        let capped = |q: Option<i128>| match q {
            Some(q) if format != Format::BinarySi || cmp_abs(q, scale, i64::MAX.into()).is_le() => (q, scale),
            _ => (i64::MAX.into(), 0),
        };
        let (unsigned, mut exponent) = capped(unsigned);
        let mut mantissa = if self.negative { -unsigned } else { unsigned };
        if exponent < NANO {
            mantissa = rescale(mantissa, exponent, NANO).0;
            exponent = NANO;
        }
        let below_one = mantissa > 0 && cmp_abs(mantissa, exponent, 1).is_lt();
        let shown = if format == Format::BinarySi && below_one { Format::DecimalSi } else { format };
        let text = (text == "0" || self.is_canonical_on_sight(&suffix)).then(|| text.into());
        Ok(Quantity { mantissa, exponent, format: shown, text })
    }

    /// All digits as one number, and how many of them stand after the point. Trailing zeros of a
    /// fraction are left out, and digits too fine to matter fold into one that still rounds up.
    fn significant_digits(&self) -> Result<(i128, i32), ParseQuantityError> {
        let fraction = self.fraction.trim_end_matches('0');
        let all: String = [self.whole, fraction].concat();
        let significant = all.trim_start_matches('0');
        if significant.len() <= MAX_DIGITS {
            let number = if significant.is_empty() {
                0
            } else {
                significant.parse().map_err(|_| ParseQuantityError::Numeric)?
            };
            return Ok((number, fraction.len() as i32));
        }
        let excess = significant.len() - MAX_DIGITS;
        if excess > fraction.len() {
            return Err(ParseQuantityError::Numeric);
        }
        let kept: i128 = significant[..MAX_DIGITS].parse().map_err(|_| ParseQuantityError::Numeric)?;
        Ok((kept + 1, (fraction.len() - excess) as i32))
    }

    /// Upstream keeps the text where its fast path holds and a cheap look finds nothing to simplify
    /// (so `1.500` stays, while `1.5` becomes `1500m`).
    fn is_canonical_on_sight(&self, suffix: &Suffix) -> bool {
        let digits = (self.whole.len() + self.fraction.len()) as i32;
        let shifted = [self.whole, self.fraction].concat();
        match *suffix {
            Suffix::Decimal(exponent) | Suffix::Exponent(exponent) => {
                let scale = exponent.saturating_sub(self.fraction.len() as i32);
                digits <= MAX_I64_DIGITS
                    && scale >= NANO
                    && scale % 3 == 0
                    && !shifted.ends_with("000")
                    && !shifted.starts_with('0')
            }
            Suffix::Binary(power) => {
                let precision = 15 - digits - (power * 3 / 10) as i32 - 1;
                let number = shifted.parse::<i64>().unwrap_or_default();
                self.fraction.is_empty()
                    && precision >= 0
                    && number & 7 != 0
                    && number.checked_mul(1 << power).is_some()
            }
        }
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
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
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).map_or_else(|e| format!("error: {e}"), |q| q.to_string())
    }

    #[test]
    fn prints_the_canonical_text() {
        for (text, want) in [
            ("0", "0"),
            ("-0", "0"),
            ("0Ki", "0"),
            ("0.0", "0"),
            ("1", "1"),
            ("+1", "+1"),
            ("100m", "100m"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1.500", "1.500"),
            ("1000", "1k"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1025Ki", "1025Ki"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("123Mi", "123Mi"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("12e6", "12e6"),
            ("1000e3", "1e6"),
            ("0.1m", "100u"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("0.0000000001", "1n"),
            ("-0.1n", "-1n"),
            ("100Ei", "9223372036854775807"),
            ("1.1E", "1100P"),
            ("1e-3", "1e-3"),
            ("1e-9", "1e-9"),
            ("1e-10", "1e-9"),
            ("1e30", "1e30"),
            (".5", "500m"),
            ("5.", "5."),
            ("0.1Mi", "104857600m"),
            ("9999999999999999999999999999", "9999999999999999999999999999"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("0005", "0005"),
            ("-1.5Gi", "-1536Mi"),
            ("0.0001Ki", "102400u"),
        ] {
            assert_eq!(canonical(text), want, "{text}");
        }
    }

    #[test]
    fn rejects_in_upstreams_words() {
        let format = ParseQuantityError::Format;
        for (text, want) in [
            ("", format),
            ("1 ", format),
            ("1Gx", format),
            ("1K", ParseQuantityError::Suffix),
            ("1mi", ParseQuantityError::Suffix),
            ("1e", ParseQuantityError::Suffix),
            ("one", format),
            ("1.2.3", format),
            ("1Kii", ParseQuantityError::Suffix),
            ("1e+", ParseQuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(want), "{text}");
        }
    }

    #[test]
    fn rounds_values_up() {
        let value = |text: &str| {
            let q = Quantity::parse(text).unwrap();
            (q.value(), q.milli_value())
        };
        assert_eq!(value("100m"), (1, 100));
        assert_eq!(value("1500m"), (2, 1500));
        assert_eq!(value("-1500m"), (-2, -1500));
        assert_eq!(value("1u"), (1, 1));
        assert_eq!(value("1Gi"), (1 << 30, (1 << 30) * 1000));
        assert_eq!(value("1e30"), (i64::MAX, i64::MAX));
    }

    #[test]
    fn compares_across_scales() {
        let ordered = [
            "-1e60", "-1", "-1m", "0", "1n", "1m", "999m", "1", "1000", "1Ki", "1025", "1e18", "1E30", "1e31", "1e100",
        ];
        for pair in ordered.windows(2) {
            let (a, b) = (Quantity::parse(pair[0]).unwrap(), Quantity::parse(pair[1]).unwrap());
            assert!(a < b && b > a, "{pair:?}");
        }
        assert_eq!(Quantity::parse("1").unwrap(), Quantity::parse("1000m").unwrap());
        assert_eq!(Quantity::parse("1Gi").unwrap(), Quantity::parse("1073741824").unwrap());
    }

    #[test]
    fn sums_keep_the_first_nonzero_format() {
        let sum = |texts: &[&str]| {
            texts.iter().fold(Quantity::ZERO, |mut sum, text| {
                sum.add(&Quantity::parse(text).unwrap());
                sum
            })
        };
        assert_eq!(sum(&["1Gi", "512Mi"]).to_string(), "1536Mi");
        assert_eq!(sum(&["100m", "900m"]).to_string(), "1");
        assert_eq!(sum(&["1", "1Gi"]).to_string(), "1073741825");
        let mut rest = Quantity::parse("4").unwrap();
        rest.sub(&Quantity::parse("250m").unwrap());
        assert_eq!(rest.to_string(), "3750m");
    }
}
