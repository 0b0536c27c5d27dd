//! Cron schedules, as CronJobs write them (`robfig/cron`'s standard parser, whose words errors keep).
//!
//! Five fields (minute, hour, day of month, month, day of week), a named schedule (`@daily`), or
//! `@every 1h30m`; before them possibly `TZ=Europe/Berlin `.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// When something is to happen, again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Named in the schedule itself.
    zone: Option<TimeZone>,
    rhythm: Rhythm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rhythm {
    Calendar(Calendar),
    Every(SignedDuration),
}

/// Bit `n` set: the value `n` matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Calendar {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// Written as a star: the other field of days decides alone.
    is_star: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits >> value & 1 == 1)
    }
}

/// What a field may hold.
struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// A day that never comes (31 February) is looked for no longer than this.
const YEARS_MAX: i16 = 5;

/// Where machines keep the time zone database, as Go looks for it.
const ZONEINFO: [&str; 4] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"];

/// Reads a time zone from the machine's database by its IANA name.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    if matches!(name, "" | "UTC") {
        return Ok(TimeZone::UTC);
    }
    let unknown = || format!("unknown time zone {name}");
    // No path that leads out of the database.
    if name.starts_with('/') || name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err(unknown());
    }
    let data = ZONEINFO.iter().find_map(|dir| std::fs::read(std::path::Path::new(dir).join(name)).ok());
    data.and_then(|data| TimeZone::tzif(name, &data).ok()).ok_or_else(unknown)
}

impl Schedule {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let (zone, rest) = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            Some(rest) => {
                let (name, rest) = rest.split_once(' ').ok_or("expected exactly 5 fields, found 0: []")?;
                let zone = time_zone(name).map_err(|why| format!("provided bad location {name}: {why}"))?;
                (Some(zone), rest.trim())
            }
            None => (None, text),
        };
        let rhythm = if rest.starts_with('@') { named(rest)? } else { Rhythm::Calendar(Calendar::parse(rest)?) };
        Ok(Self { zone, rhythm })
    }

    /// The first time after `after`, read in `zone` unless the schedule names one itself; `None` when there
    /// is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.rhythm {
            Rhythm::Every(pause) => Timestamp::from_second(after.as_second()).ok()?.checked_add(*pause).ok(),
            Rhythm::Calendar(calendar) => {
                let zone = self.zone.clone().unwrap_or_else(|| zone.clone());
                calendar.next(&after.to_zoned(zone)).map(|found| found.timestamp())
            }
        }
    }
}

fn named(text: &str) -> Result<Rhythm, String> {
    if let Some(duration) = text.strip_prefix("@every ") {
        let nanos =
            crate::duration::parse(duration).map_err(|why| format!("failed to parse duration {text}: {why}"))?;
        // Whole seconds, one at least.
        return Ok(Rhythm::Every(SignedDuration::from_secs((nanos / 1_000_000_000).max(1))));
    }
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return Err(format!("unrecognized descriptor: {text}")),
    };
    Calendar::parse(fields).map(Rhythm::Calendar)
}

impl Calendar {
    fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        Ok(Self {
            minute: field(minute, &MINUTES)?,
            hour: field(hour, &HOURS)?,
            day: field(day, &DAYS)?,
            month: field(month, &MONTHS)?,
            weekday: field(weekday, &WEEKDAYS)?,
        })
    }

    fn next(&self, after: &Zoned) -> Option<Zoned> {
        let last_year = after.year().checked_add(YEARS_MAX)?;
        // The next whole minute.
        let past = i64::from(after.second()) * 1_000_000_000 + i64::from(after.subsec_nanosecond());
        let mut at = after.checked_add(SignedDuration::from_mins(1) - SignedDuration::from_nanos(past)).ok()?;
        while at.year() <= last_year {
            if !self.month.has(at.month()) {
                at = start_of(at.date().first_of_month().checked_add(1.month()).ok()?, &at)?;
            } else if !self.matches_day(at.date()) {
                at = start_of(at.date().tomorrow().ok()?, &at)?;
            } else if !self.hour.has(at.hour()) {
                // In real time: an hour that a change of the clock leaves out never comes, one that it
                // repeats comes twice.
                at = at.checked_add(SignedDuration::from_mins(60 - i64::from(at.minute()))).ok()?;
            } else if !self.minute.has(at.minute()) {
                at = at.checked_add(SignedDuration::from_mins(1)).ok()?;
            } else {
                return Some(at);
            }
        }
        None
    }

    /// Where both days are given, either will do.
    fn matches_day(&self, date: Date) -> bool {
        let (day, weekday) = (self.day.has(date.day()), self.weekday.has(date.weekday().to_sunday_zero_offset()));
        if self.day.is_star || self.weekday.is_star { day && weekday } else { day || weekday }
    }
}

fn start_of(date: Date, like: &Zoned) -> Option<Zoned> {
    date.to_zoned(like.time_zone().clone()).ok()
}

fn field(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| range(part, bounds)).try_fold(Field { bits: 0, is_star: false }, |all, part| {
        let part = part?;
        Ok(Field { bits: all.bits | part.bits, is_star: all.is_star || part.is_star })
    })
}

/// `number`, `number-number`, a star, each with or without `/step`.
fn range(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let mut halves = text.split('/');
    let (span, step, rest) = (halves.next().unwrap_or_default(), halves.next(), halves.next());
    if rest.is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let ends: Vec<&str> = span.split('-').collect();
    let starred = matches!(ends[0], "*" | "?");
    let (first, mut last) = match ends[..] {
        _ if starred => (bounds.min, bounds.max),
        [only] => (value(only, bounds)?, value(only, bounds)?),
        [first, last] => (value(first, bounds)?, value(last, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = step.map(number).transpose()?;
    if step.is_some() && ends.len() == 1 {
        last = bounds.max;
    }
    let is_star = starred && step.is_none_or(|step| step <= 1);
    let step = step.unwrap_or(1);
    if first < bounds.min {
        return Err(format!("beginning of range ({first}) below minimum ({}): {text}", bounds.min));
    }
    if last > bounds.max {
        return Err(format!("end of range ({last}) above maximum ({}): {text}", bounds.max));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let bits = (first..=last).step_by(step as usize).fold(0, |bits, value| bits | 1u64 << value);
    Ok(Field { bits, is_star })
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let name = text.to_ascii_lowercase();
    match bounds.names.iter().position(|known| *known == name) {
        Some(at) => Ok(bounds.min + at as u32),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(number.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let zone = TimeZone::UTC;
        let found = Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone);
        found.map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    #[test]
    fn the_next_time_is_the_first_that_matches() {
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-01T12:00:00Z", "2026-01-01T12:01:00Z"),
            ("* * * * *", "2026-01-01T12:00:30.5Z", "2026-01-01T12:01:00Z"),
            ("*/15 * * * ?", "2026-01-01T12:50:00Z", "2026-01-01T13:00:00Z"),
            ("5/20 * * * *", "2026-01-01T12:06:00Z", "2026-01-01T12:25:00Z"),
            ("0 3 * * mon-FRI", "2026-01-02T04:00:00Z", "2026-01-05T03:00:00Z"),
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 */2 * 5", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
            ("30 6-16/4 * * 1-5", "2026-01-01T06:30:00Z", "2026-01-01T10:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("59 23 31 2 *", "2026-01-01T00:00:00Z", "never"),
            ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00.7Z", "2026-01-01T01:30:00Z"),
            ("@every 10ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ] {
            assert_eq!(next(schedule, after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn clocks_that_change_leave_hours_out_and_repeat_them() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let next = |schedule: &str, after: &str| {
            Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone).unwrap().to_string()
        };
        assert_eq!(next("0 9 * * *", "2026-07-01T00:00:00Z"), "2026-07-01T07:00:00Z");
        assert_eq!(next("30 2 * * *", "2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z", "2:30 is left out on the 29th");
        assert_eq!(next("30 2 * * *", "2026-10-25T00:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("30 2 * * *", "2026-10-25T00:30:00Z"), "2026-10-25T01:30:00Z", "and repeated in autumn");
    }

    #[test]
    fn errors_are_the_original_parsers() {
        for (schedule, error) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("TZ=Nowhere/Land * * * * *", "provided bad location Nowhere/Land: unknown time zone Nowhere/Land"),
        ] {
            assert_eq!(Schedule::parse(schedule), Err(error.to_owned()));
        }
    }
}
