//! Durations as humans read them: `k8s.io/apimachinery/pkg/util/duration`.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Two or three significant figures: `45s`, `5m10s`, `3h7m`, `2d4h`, `3y40d`. A time in the future is
/// `<invalid>`, but for a second that clocks may differ.
pub fn human_duration(seconds: i64) -> String {
    let two = |large: i64, large_unit: &str, rest: i64, unit: &str| match rest {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{rest}{unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// One figure: `45s`, `5m`, `3h`, `2d`, `3y`.
pub fn short_human_duration(seconds: i64) -> String {
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < MINUTE => format!("{s}s"),
        s if s < HOUR => format!("{}m", s / MINUTE),
        s if s < DAY => format!("{}h", s / HOUR),
        s if s < YEAR => format!("{}d", s / DAY),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_upstreams() {
        for (seconds, long, short) in [
            (-2, "<invalid>", "<invalid>"),
            (-1, "0s", "0s"),
            (0, "0s", "0s"),
            (70, "70s", "1m"),
            (119, "119s", "1m"),
            (120, "2m", "2m"),
            (190, "3m10s", "3m"),
            (10 * MINUTE, "10m", "10m"),
            (179 * MINUTE, "179m", "2h"),
            (3 * HOUR, "3h", "3h"),
            (7 * HOUR + 59 * MINUTE, "7h59m", "7h"),
            (47 * HOUR, "47h", "1d"),
            (2 * DAY, "2d", "2d"),
            (3 * DAY + 4 * HOUR, "3d4h", "3d"),
            (8 * DAY + HOUR, "8d", "8d"),
            (729 * DAY, "729d", "1y"),
            (2 * YEAR, "2y", "2y"),
            (2 * YEAR + 2 * DAY, "2y2d", "2y"),
            (8 * YEAR + DAY, "8y", "8y"),
        ] {
            assert_eq!((human_duration(seconds).as_str(), short_human_duration(seconds).as_str()), (long, short));
        }
    }
}
