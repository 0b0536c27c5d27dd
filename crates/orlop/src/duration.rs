//! Durations of flags, as Go writes them: `30s`, `1m30s`.

use std::time::Duration;

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanos = orlop_base::duration::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| format!("{text} is negative"))
}
