//! The text of a quantity, taken apart and put together as a number.

use super::{
    BINARY_SUFFIXES, DECIMAL_SUFFIXES, Format, MAX_DIGITS, MAX_EXPONENT, MAX_I64_DIGITS, NANO, ParseQuantityError,
    Quantity, cmp_abs, rescale, strip_factors,
};

pub enum Suffix {
    Decimal(i32),
    Exponent(i32),
    /// Power of two.
    Binary(u32),
}

impl Suffix {
    pub fn read(text: &str) -> Option<Self> {
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
pub struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    pub suffix: &'a str,
}

impl<'a> Parts<'a> {
    pub fn split(text: &'a str) -> Result<Self, ParseQuantityError> {
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

    pub fn value(&self, suffix: Suffix, text: &str) -> Result<Quantity, ParseQuantityError> {
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
        if exponent > MAX_EXPONENT {
            (mantissa, exponent) = (strip_factors(mantissa, 10).0, MAX_EXPONENT);
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
        let nonzero = significant.trim_end_matches('0');
        if fraction.is_empty() && nonzero.len() <= MAX_DIGITS {
            let number = nonzero.parse().map_err(|_| ParseQuantityError::Numeric)?;
            return Ok((number, -((significant.len() - nonzero.len()) as i32)));
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
