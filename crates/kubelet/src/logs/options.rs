//! What of a log is asked for (`PodLogOptions`).

use jiff::{SignedDuration, Timestamp};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub limit_bytes: Option<u64>,
    /// Lines from before are left out.
    pub since: Option<Timestamp>,
}

/// Why a query cannot be answered, as the kubelet's server tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error(r#"{{"message": "Unable to decode query."}}"#)]
    Undecodable,
    #[error(r#"{{"message": "Invalid request."}}"#)]
    Invalid,
}

impl LogOptions {
    pub fn from_query<'a>(
        query: impl Iterator<Item = (&'a str, &'a str)>,
        now: Timestamp,
    ) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        let (mut since_seconds, mut since_time) = (None, None);
        for (key, value) in query {
            match key {
                "follow" => options.follow = flag(value)?,
                "previous" => options.previous = flag(value)?,
                "timestamps" => options.timestamps = flag(value)?,
                "tail" if value == "all" => options.tail_lines = None,
                "tailLines" | "tail" => options.tail_lines = Some(count(value)?),
                "limitBytes" => options.limit_bytes = Some(count(value)?.max(1)).filter(|_| value != "0"),
                "sinceSeconds" => since_seconds = Some(value.parse::<i64>().map_err(|_| OptionsError::Undecodable)?),
                "sinceTime" => since_time = Some(value.parse::<Timestamp>().map_err(|_| OptionsError::Undecodable)?),
                _ => {}
            }
            if key == "limitBytes" && options.limit_bytes.is_none() {
                return Err(OptionsError::Invalid);
            }
        }
        options.since = match (since_seconds, since_time) {
            (Some(_), Some(_)) => return Err(OptionsError::Invalid),
            (Some(seconds), None) if seconds < 1 => return Err(OptionsError::Invalid),
            (Some(seconds), None) => now.checked_sub(SignedDuration::from_secs(seconds)).ok(),
            (None, time) => time,
        };
        Ok(options)
    }
}

fn flag(value: &str) -> Result<bool, OptionsError> {
    match value {
        "" | "0" | "false" | "False" | "FALSE" | "f" | "F" => Ok(false),
        "1" | "true" | "True" | "TRUE" | "t" | "T" => Ok(true),
        _ => Err(OptionsError::Undecodable),
    }
}

fn count(value: &str) -> Result<u64, OptionsError> {
    match value.parse::<i64>() {
        Ok(count) => u64::try_from(count).map_err(|_| OptionsError::Invalid),
        Err(_) => Err(OptionsError::Undecodable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let read = |query: &str| {
            let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
            LogOptions::from_query(pairs.into_iter(), now)
        };
        let options = read("follow=true&tailLines=5&timestamps=1&limitBytes=10&sinceSeconds=60").unwrap();
        assert_eq!((options.follow, options.timestamps, options.tail_lines), (true, true, Some(5)));
        assert_eq!((options.limit_bytes, options.since), (Some(10), Some("2026-01-01T00:00:00Z".parse().unwrap())));
        assert_eq!(read("tail=all").unwrap(), LogOptions::default());
        assert_eq!(read("tailLines=x"), Err(OptionsError::Undecodable));
        for invalid in
            ["tailLines=-1", "sinceSeconds=0", "limitBytes=0", "sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z"]
        {
            assert_eq!(read(invalid), Err(OptionsError::Invalid), "{invalid}");
        }
    }
}
