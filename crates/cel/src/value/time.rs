//! Times and durations as CEL knows them: Go's, within the years 1 to 9999.

use std::fmt;

use super::{Result, fail};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
pub const MIN_SECONDS: i64 = -62_135_596_800;
const MAX_SECONDS: i64 = 253_402_300_799;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    /// Since 1970 in UTC.
    pub seconds: i64,
    pub nanos: u32,
    /// East of UTC, in seconds: how it was written.
    pub offset: i32,
}

/// A moment on the calendar and the clock of some place.
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: i64,
    pub day: i64,
    /// From 0.
    pub day_of_year: i64,
    /// Sunday is 0.
    pub weekday: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

impl Timestamp {
    pub fn new(seconds: i64, nanos: u32, offset: i32) -> Result<Self> {
        if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return fail("timestamp overflow");
        }
        Ok(Self { seconds, nanos, offset })
    }

    pub fn moment(&self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    pub fn add(&self, nanos: i64) -> Result<Self> {
        let total =
            i128::from(self.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos) + i128::from(nanos);
        let seconds = total.div_euclid(i128::from(NANOS_PER_SECOND));
        let rest = total.rem_euclid(i128::from(NANOS_PER_SECOND));
        Self::new(i64::try_from(seconds).unwrap_or(i64::MAX), rest as u32, self.offset)
    }

    /// Nanoseconds from `other` to this.
    pub fn since(&self, other: &Self) -> Result<i64> {
        let seconds = i128::from(self.seconds) - i128::from(other.seconds);
        let nanos = seconds * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos) - i128::from(other.nanos);
        i64::try_from(nanos).or_else(|_| fail("integer overflow"))
    }

    /// The calendar so many seconds east of UTC.
    pub fn civil(&self, offset: i64) -> Civil {
        let local = self.seconds + offset;
        let days = local.div_euclid(SECONDS_PER_DAY);
        let rest = local.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = date(days);
        Civil {
            year,
            month,
            day,
            day_of_year: days - days_before(year, 1, 1),
            weekday: (days + 4).rem_euclid(7),
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

/// RFC 3339 with as many digits of the fraction as it has, in the zone it was written in.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second, .. } = self.civil(i64::from(self.offset));
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Days since 1970 of a date (H. Hinnant's civil calendar).
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Reads RFC 3339, any number of digits of the fraction.
pub fn parse_timestamp(text: &str) -> Result<Timestamp> {
    read_timestamp(text)
        .map_or_else(|| fail("not a time"), |(seconds, nanos, offset)| Timestamp::new(seconds, nanos, offset))
}

fn read_timestamp(text: &str) -> Option<(i64, u32, i32)> {
    let bytes = text.as_bytes();
    let shape = |at: usize, c: u8| bytes.get(at) == Some(&c);
    if !(shape(4, b'-') && shape(7, b'-') && shape(10, b'T') && shape(13, b':') && shape(16, b':')) {
        return None;
    }
    let number = |at: usize, digits: usize| {
        let part = text.get(at..at + digits)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
        Some(digits) => {
            let count = digits.bytes().take_while(u8::is_ascii_digit).count();
            if count == 0 {
                return None;
            }
            digits.split_at(count)
        }
        None => ("", rest),
    };
    let nanos: u32 = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
    let offset = read_offset(rest)?;
    let seconds = days_before(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Some((seconds - i64::from(offset), nanos, offset))
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `Z` or `+hh:mm`, as seconds.
fn read_offset(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let number =
        |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i32>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Go's `time.ParseDuration`, in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64> {
    orlop_base::duration::parse(text).or_else(|error| fail(error.to_string()))
}

/// The `duration` format of schemas: Go's, or `3 days`, `2w` and their like.
pub fn parse_strfmt_duration(text: &str) -> Option<i64> {
    if let Ok(nanos) = parse_duration(text) {
        return Some(nanos);
    }
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let count: i64 = text[..split].parse().ok()?;
    let unit = match text[split..].trim().to_ascii_lowercase().as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => NANOS_PER_SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * NANOS_PER_SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600 * NANOS_PER_SECOND,
        "d" | "day" | "days" => SECONDS_PER_DAY * NANOS_PER_SECOND,
        "w" | "wk" | "week" | "weeks" => 7 * SECONDS_PER_DAY * NANOS_PER_SECOND,
        _ => return None,
    };
    count.checked_mul(unit)
}

/// `string(duration)`: seconds as a decimal, as precise as a double is.
pub fn format_duration(nanos: i64) -> String {
    let whole = nanos / NANOS_PER_SECOND;
    let seconds = whole as f64 + (nanos % NANOS_PER_SECOND) as f64 / 1e9;
    format!("{seconds}s")
}

/// Where systems keep their time zones, and how large one may be.
const ZONES: &str = "/usr/share/zoneinfo";
const MAX_ZONE_BYTES: usize = 64 << 10;

fn named_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    if !name.chars().all(plain) || name.starts_with('/') {
        return None;
    }
    let data = std::fs::read(format!("{ZONES}/{name}")).ok().filter(|data| data.len() <= MAX_ZONE_BYTES)?;
    jiff::tz::TimeZone::tzif(name, &data).ok()
}

/// Seconds east of UTC that a zone's name or offset means at a moment.
pub fn zone_offset(zone: &str, at: &Timestamp) -> Result<i64> {
    if let Some((hours, minutes)) = zone.split_once(':') {
        let number = |text: &str| {
            text.parse::<i64>().or_else(|_| fail(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let minutes = if zone.starts_with('-') { minutes.saturating_neg() } else { minutes };
        return Ok(hours
            .saturating_mul(3600)
            .saturating_add(minutes.saturating_mul(60))
            .clamp(-SECONDS_PER_DAY, SECONDS_PER_DAY));
    }
    if matches!(zone, "" | "UTC") {
        return Ok(0);
    }
    let Some(found) = named_zone(zone) else { return fail(format!("unknown time zone {zone}")) };
    let moment = jiff::Timestamp::from_second(at.seconds).or_else(|_| fail("timestamp overflow"))?;
    Ok(i64::from(found.to_offset(moment).seconds()))
}
