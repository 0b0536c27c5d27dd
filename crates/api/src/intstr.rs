//! `intstr.IntOrString`: a number, or a percentage of some total (`k8s.io/apimachinery/pkg/util/intstr`).

use serde_json::Value;

/// Which way a percentage that is no whole number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Up,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntOrStringError {
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotAPercentage,
    #[error("invalid value for IntOrString: invalid value \"{0}\": invalid syntax")]
    NotANumber(String),
    #[error("invalid type: neither int nor percentage")]
    WrongType,
}

/// `5` is 5, `"25%"` is a quarter of `total`.
pub fn scaled_value(value: &Value, total: i64, rounding: Rounding) -> Result<i64, IntOrStringError> {
    match value {
        Value::Number(number) => number.as_i64().ok_or(IntOrStringError::WrongType),
        Value::String(text) => Ok(of_total(percent(text)?, total, rounding)),
        _ => Err(IntOrStringError::WrongType),
    }
}

/// The number before the `%`.
pub fn percent(text: &str) -> Result<i64, IntOrStringError> {
    let number = text.strip_suffix('%').ok_or(IntOrStringError::NotAPercentage)?;
    number.parse::<i64>().map_err(|_| IntOrStringError::NotANumber(text.to_owned()))
}

fn of_total(percent: i64, total: i64, rounding: Rounding) -> i64 {
    let product = i128::from(percent) * i128::from(total);
    let share = match rounding {
        Rounding::Up => -(-product).div_euclid(100),
        Rounding::Down => product.div_euclid(100),
    };
    share.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scales_percentages() {
        for (value, total, up, down) in [
            (json!(3), 10, 3, 3),
            (json!("25%"), 10, 3, 2),
            (json!("50%"), 10, 5, 5),
            (json!("0%"), 7, 0, 0),
            (json!("1%"), 1, 1, 0),
        ] {
            assert_eq!(scaled_value(&value, total, Rounding::Up), Ok(up), "{value}");
            assert_eq!(scaled_value(&value, total, Rounding::Down), Ok(down), "{value}");
        }
        assert_eq!(scaled_value(&json!("3"), 10, Rounding::Up), Err(IntOrStringError::NotAPercentage));
        assert_eq!(scaled_value(&json!("x%"), 10, Rounding::Up), Err(IntOrStringError::NotANumber("x%".into())));
        assert_eq!(scaled_value(&json!(true), 10, Rounding::Up), Err(IntOrStringError::WrongType));
    }
}
