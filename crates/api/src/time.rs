//! `metav1.Time` and `metav1.MicroTime`: RFC 3339 in UTC, with whole seconds or exactly six digits.

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// How fine a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    Seconds,
    /// Six digits, always.
    Micros,
}

impl Precision {
    fn layout(self) -> &'static str {
        match self {
            Self::Seconds => "2006-01-02T15:04:05Z07:00",
            Self::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// Why a text is no time, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimeError {
    #[error("parsing time {} as \"{layout}\": cannot parse {} as \"{element}\"", quote(text), quote(rest))]
    Form { text: String, layout: &'static str, rest: String, element: String },
    #[error("parsing time {}: {what} out of range", quote(text))]
    Range { text: String, what: &'static str },
    #[error("parsing time {}: extra text: {}", quote(text), quote(rest))]
    Extra { text: String, rest: String },
}

/// Go's `time` package quotes everything but printable ASCII byte by byte.
fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..0x80 => quoted.push(char::from(byte)),
            _ => quoted.extend(["\\x", &format!("{byte:02x}")]),
        }
    }
    quoted.push('"');
    quoted
}

/// A moment: Unix seconds and nanoseconds into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub seconds: i64,
    pub nanos: u32,
}

/// Reads an RFC 3339 time; `Micros` demands exactly six digits of fraction, as Go's layout does.
pub fn parse(text: &str, precision: Precision) -> Result<Moment, ParseTimeError> {
    Scan { text, rest: text, precision }.moment()
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The date and time in UTC so long after 1970 began. `None` for a year before 0000 or of five digits: Go goes on to
/// write those, but neither it nor anybody else can read them again, so Orlop refuses such times.
pub fn utc(since: SignedDuration) -> Option<DateTime> {
    EPOCH.checked_add(since).ok().filter(|civil| civil.year() >= 0)
}

/// Writes a moment in UTC; what is finer than `precision` is cut off. `None` as of [`utc`].
pub fn format(moment: Moment, precision: Precision) -> Option<String> {
    let civil = utc(SignedDuration::from_secs(moment.seconds))?;
    let (y, mo, d) = (civil.year(), civil.month(), civil.day());
    let (h, mi, s) = (civil.hour(), civil.minute(), civil.second());
    Some(match precision {
        Precision::Seconds => format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z"),
        Precision::Micros => format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{:06}Z", moment.nanos / 1000),
    })
}

/// The text as upstream would write it back after reading it; `None` for Go's zero time.
pub fn normalise(text: &str, precision: Precision) -> Result<Option<String>, ParseTimeError> {
    let moment = parse(text, precision)?;
    Ok(if moment == GO_ZERO { None } else { format(moment, precision) })
}

/// 0001-01-01T00:00:00Z, which upstream takes for "not set".
const GO_ZERO: Moment = Moment { seconds: -62_135_596_800, nanos: 0 };

struct Scan<'a> {
    text: &'a str,
    rest: &'a str,
    precision: Precision,
}

impl Scan<'_> {
    fn moment(mut self) -> Result<Moment, ParseTimeError> {
        let year = self.number(4, "2006", None)?;
        self.literal("-")?;
        let month = self.number(2, "01", Some(("month", 1..=12)))?;
        self.literal("-")?;
        let day = self.number(2, "02", None)?;
        self.literal("T")?;
        // Go takes an hour of one digit too.
        let hour_width = self.rest.bytes().take(2).take_while(u8::is_ascii_digit).count().max(1);
        let hour = self.number(hour_width, "15", Some(("hour", 0..=23)))?;
        self.literal(":")?;
        let minute = self.number(2, "04", Some(("minute", 0..=59)))?;
        self.literal(":")?;
        let second = self.number(2, "05", Some(("second", 0..=59)))?;
        let nanos = self.fraction()?;
        let offset = self.offset()?;
        if !self.rest.is_empty() {
            return Err(ParseTimeError::Extra { text: self.text.to_owned(), rest: self.rest.to_owned() });
        }
        let civil = DateTime::new(year as i16, month as i8, day as i8, hour as i8, minute as i8, second as i8, 0)
            .map_err(|_| self.fail_range("day"))?;
        let seconds = civil.duration_since(EPOCH).as_secs() - i64::from(offset);
        utc(SignedDuration::from_secs(seconds)).ok_or_else(|| self.fail_range("year"))?;
        Ok(Moment { seconds, nanos })
    }

    fn number(
        &mut self,
        width: usize,
        element: &str,
        range: Option<(&'static str, std::ops::RangeInclusive<i32>)>,
    ) -> Result<i32, ParseTimeError> {
        let digits = self.rest.get(..width).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let Some(digits) = digits else { return Err(self.fail_parse(element)) };
        let value = digits.parse().map_err(|_| self.fail_parse(element))?;
        if let Some((name, range)) = range
            && !range.contains(&value)
        {
            return Err(self.fail_range(name));
        }
        self.rest = &self.rest[width..];
        Ok(value)
    }

    fn literal(&mut self, literal: &str) -> Result<(), ParseTimeError> {
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.fail_parse(literal))?;
        Ok(())
    }

    fn fraction(&mut self) -> Result<u32, ParseTimeError> {
        let digits = self.rest.strip_prefix(['.', ',']).map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
        match self.precision {
            Precision::Micros if digits < 6 => return Err(self.fail_parse(".000000")),
            Precision::Seconds if digits == 0 => return Ok(0),
            _ => {}
        }
        let taken = if self.precision == Precision::Micros { 6 } else { digits };
        let nanos = self.rest[1..=taken].bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanos = nanos.fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
        self.rest = &self.rest[1 + taken..];
        Ok(nanos)
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i32, ParseTimeError> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let sign = match bytes.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(self.fail_parse("Z07:00")),
        };
        if bytes.len() < 6 || bytes[3] != b':' || !self.rest.is_char_boundary(6) {
            return Err(self.fail_parse("Z07:00"));
        }
        let part = |range| self.rest.get(range).and_then(|d: &str| d.parse::<u8>().ok());
        let (Some(hours), Some(minutes)) = (part(1..3), part(4..6)) else { return Err(self.fail_parse("Z07:00")) };
        if hours > 24 {
            return Err(self.fail_range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(self.fail_range("time zone offset minute"));
        }
        self.rest = &self.rest[6..];
        Ok(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
    }

    fn fail_parse(&self, element: &str) -> ParseTimeError {
        ParseTimeError::Form {
            text: self.text.to_owned(),
            layout: self.precision.layout(),
            rest: self.rest.to_owned(),
            element: element.to_owned(),
        }
    }

    fn fail_range(&self, what: &'static str) -> ParseTimeError {
        ParseTimeError::Range { text: self.text.to_owned(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_to_utc() {
        for (text, want) in [
            ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
            ("2024-02-29T12:00:00.999Z", "2024-02-29T12:00:00Z"),
            ("2024-02-29T01:00:00+02:00", "2024-02-28T23:00:00Z"),
            ("1969-12-31T23:59:59-01:30", "1970-01-01T01:29:59Z"),
            ("0001-01-01T00:00:01Z", "0001-01-01T00:00:01Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(normalise(text, Precision::Seconds).unwrap().unwrap(), want, "{text}");
        }
        assert_eq!(normalise("0001-01-01T00:00:00Z", Precision::Seconds), Ok(None));
        let micro = normalise("2024-02-29T12:00:00.123456+00:00", Precision::Micros).unwrap().unwrap();
        assert_eq!(micro, "2024-02-29T12:00:00.123456Z");
    }

    #[test]
    fn fails_in_gos_words() {
        let error = |text, precision| normalise(text, precision).unwrap_err().to_string();
        assert_eq!(
            error("yesterday", Precision::Seconds),
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#
        );
        assert_eq!(
            error("2024-01-01T00:00:00Z", Precision::Micros),
            r#"parsing time "2024-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#
        );
        assert_eq!(
            error("2024-13-01T00:00:00Z", Precision::Seconds),
            r#"parsing time "2024-13-01T00:00:00Z": month out of range"#
        );
        for text in ["0000-01-01T00:08:59+00:09", "9999-12-31T23:59:59-00:01"] {
            assert_eq!(error(text, Precision::Seconds), format!("parsing time {text:?}: year out of range"));
        }
        assert_eq!(
            error("2024-01-01T0:00:00Zé", Precision::Seconds),
            r#"parsing time "2024-01-01T0:00:00Z\xc3\xa9": extra text: "\xc3\xa9""#
        );
    }
}
