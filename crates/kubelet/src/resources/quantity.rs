//! Amounts of resources: reading and adding `resource.Quantity` texts.

use std::collections::BTreeMap;

use orlop_api::typed::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a pod or container asks for, by resource name.
pub type ResourceList = BTreeMap<String, Quantity>;

/// How an amount likes to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
}

/// A parsed quantity, exact to 10^-9.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    nanos: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;

const DECIMAL: [(&str, i128); 9] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", NANO),
    ("k", NANO * 1_000),
    ("M", NANO * 1_000_000),
    ("G", NANO * 1_000_000_000),
    ("T", NANO * 1_000_000_000_000),
    ("P", NANO * 1_000_000_000_000_000),
];
const EXA: i128 = NANO * 1_000_000_000_000_000_000;
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Amount {
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// Whole units, such as bytes or pods, printed with decimal suffixes.
    pub fn units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::Decimal }
    }

    /// Whole units, printed with binary suffixes, as memory is.
    pub fn bytes(bytes: i64) -> Self {
        Self { format: Format::Binary, ..Self::units(bytes) }
    }

    pub fn milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * 1_000_000, format: Format::Decimal }
    }

    /// `None` for what is not a quantity; the API server lets none through.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (scale, format) = scale_of(suffix)?;
        Some(Self { nanos: scaled(number, scale)?, format })
    }

    /// The amount in `list`, zero when absent.
    pub fn of(list: Option<&ResourceList>, name: &str) -> Self {
        Self::find(list, name).unwrap_or(Self::ZERO)
    }

    pub fn find(list: Option<&ResourceList>, name: &str) -> Option<Self> {
        list?.get(name).and_then(|q| Self::parse(&q.0))
    }

    /// Whole units, rounded up as `Quantity.Value` does.
    pub fn value(self) -> i64 {
        clamp(div_up(self.nanos, NANO))
    }

    /// Thousandths, rounded up as `Quantity.MilliValue` does.
    pub fn milli_value(self) -> i64 {
        clamp(div_up(self.nanos, 1_000_000))
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn max(self, other: Self) -> Self {
        if other.nanos > self.nanos { other } else { self }
    }

    /// Never below zero: what is left after a reservation.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self { nanos: (self.nanos - other.nanos).max(0), format: self.format }
    }

    pub fn to_quantity(self) -> Quantity {
        Quantity(self.to_string())
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    /// Keeps the format of the first non-zero side, as upstream's `Add` does.
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos + other.nanos, format }
    }
}

/// The canonical text: the largest suffix that leaves a whole number.
impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = self.nanos % NANO == 0;
        if self.format == Format::Binary && whole && self.nanos.abs() >= 1024 * NANO {
            let units = self.nanos / NANO;
            let fitting = BINARY.iter().rev().find(|(_, shift)| units % (1 << shift) == 0);
            return match fitting {
                Some((suffix, shift)) => write!(f, "{}{suffix}", units >> shift),
                None => write!(f, "{units}"),
            };
        }
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let fitting = DECIMAL.iter().rev().find(|(_, scale)| self.nanos % scale == 0);
        let (suffix, scale) = fitting.copied().unwrap_or(("n", 1));
        write!(f, "{}{suffix}", self.nanos / scale)
    }
}

fn scale_of(suffix: &str) -> Option<(i128, Format)> {
    if let Some((_, scale)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*scale, Format::Decimal));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((NANO << shift, Format::Binary));
    }
    if suffix == "E" {
        return Some((EXA, Format::Decimal));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = u32::try_from(9 + exponent).ok()?;
    Some((10i128.checked_pow(power)?, Format::Decimal))
}

/// `number` times `scale`; what is finer than a nano rounds up.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let numerator: i128 = fraction.parse().ok()?;
        let denominator = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(div_up(numerator.checked_mul(scale)?, denominator))?;
    }
    Some(if negative { -total } else { total })
}

fn div_up(a: i128, b: i128) -> i128 {
    a.div_euclid(b) + i128::from(a.rem_euclid(b) != 0)
}

fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_rounds_up() {
        for (text, value, milli) in [
            ("100m", 1, 100),
            ("1.5", 2, 1500),
            ("0.5Gi", 536_870_912, 536_870_912_000),
            ("64Mi", 67_108_864, 67_108_864_000),
            ("1e3", 1000, 1_000_000),
            ("2E", 2_000_000_000_000_000_000, i64::MAX),
            ("1n", 1, 1),
            ("-2k", -2000, -2_000_000),
            (".5", 1, 500),
        ] {
            let amount = Amount::parse(text).expect(text);
            assert_eq!((amount.value(), amount.milli_value()), (value, milli), "{text}");
        }
        for bad in ["", "x", "1Qi", "1.2.3", "Ki"] {
            assert!(Amount::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn prints_canonically() {
        for (text, canonical) in
            [("1024Mi", "1Gi"), ("1000m", "1"), ("1500m", "1500m"), ("0", "0"), ("1.5Gi", "1536Mi"), ("12e6", "12M")]
        {
            assert_eq!(Amount::parse(text).expect(text).to_string(), canonical);
        }
        let sum = Amount::parse("100m").expect("cpu") + Amount::parse("1").expect("cpu");
        assert_eq!(sum.to_string(), "1100m");
    }
}
