//! Doubles as American English writes them, which is what `format` prints.

/// `1,234.500000`
pub fn fixed(value: f64, precision: usize) -> String {
    if let Some(word) = word(value) {
        return word.to_owned();
    }
    let digits = format!("{:.precision$}", value.abs());
    let (whole, fraction) = digits.split_once('.').map_or((digits.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = if value.is_sign_negative() { "-".to_owned() } else { String::new() };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `1.052033×10⁰³`: always six digits; what is written as a precision is a width.
pub fn scientific(value: f64, width: usize) -> String {
    if let Some(word) = word(value) {
        return word.to_owned();
    }
    let text = format!("{value:.6e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mut raised = if exponent < 0 { "⁻".to_owned() } else { String::new() };
    for digit in format!("{:02}", exponent.abs()).chars() {
        raised.push(match digit {
            '0' => '⁰',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            _ => '⁹',
        });
    }
    format!("{:>width$}", format!("{mantissa}×10{raised}"))
}

fn word(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "∞" } else { "-∞" })
    } else {
        None
    }
}
