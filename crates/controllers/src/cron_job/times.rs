//! Which time of a schedule is due.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use orlop_api::cron::Schedule;
use orlop_api::typed::kinds::CronJob;

/// Clocks of several machines are not quite equal: the next look comes a little after the time.
const PADDING: SignedDuration = SignedDuration::from_millis(100);

/// More missed times than this are reported.
const MANY_MISSED: i64 = 100;

pub struct Times<'a> {
    pub cron_job: &'a CronJob,
    /// The last time that was served.
    pub last: Option<Timestamp>,
    pub schedule: &'a Schedule,
    pub zone: &'a TimeZone,
    pub now: Timestamp,
}

pub struct Due {
    pub at: Timestamp,
    pub missed_many: bool,
}

/// What lies between the last time served and now.
struct Past {
    earliest: Timestamp,
    recent: Option<Timestamp>,
    missed: i64,
}

impl Times<'_> {
    /// The last time that has come and was not served, within the starting deadline.
    pub fn due(&self) -> Result<Option<Due>, String> {
        let past = self.past(true)?;
        Ok(past.recent.map(|at| Due { at, missed_many: past.missed > MANY_MISSED }))
    }

    /// When the schedule is to be looked at again.
    pub fn next_look(&self) -> Option<Timestamp> {
        let from = match self.past(false) {
            Ok(Past { recent: Some(recent), .. }) => recent,
            Ok(Past { earliest, missed: 0, .. }) => earliest,
            _ => self.now,
        };
        self.next(from)?.checked_add(PADDING).ok()
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, self.zone)
    }

    fn past(&self, within_deadline: bool) -> Result<Past, String> {
        let created = self.cron_job.metadata.creation_timestamp.as_ref().map_or(self.now, |t| t.0);
        let mut earliest = self.last.unwrap_or(created);
        let deadline = self.cron_job.spec.starting_deadline_seconds.filter(|_| within_deadline);
        if let Some(oldest) = deadline.and_then(|s| self.now.checked_sub(SignedDuration::from_secs(s)).ok()) {
            earliest = earliest.max(oldest);
        }
        let none = Past { earliest, recent: None, missed: 0 };
        let impossible = || "time difference between two schedules is less than 1 second".to_owned();
        let first = self.next(earliest).ok_or_else(impossible)?;
        if self.now < first {
            return Ok(none);
        }
        let second = self.next(first).ok_or_else(impossible)?;
        if self.now < second {
            return Ok(Past { recent: Some(first), ..none });
        }
        // Not one by one: there may be very many. The schedule may be irregular, so the last few are.
        let pause = second.as_second() - first.as_second();
        if pause < 1 {
            return Err(impossible());
        }
        let missed = (self.now.as_second() - first.as_second()) / pause + 1;
        let skipped = SignedDuration::from_secs(missed.saturating_sub(2).saturating_mul(pause));
        let from = first.checked_add(skipped).map_err(|error| error.to_string())?;
        let times = std::iter::successors(self.next(from), |at| self.next(*at));
        let recent = times.take_while(|at| *at <= self.now).last();
        Ok(Past { earliest, recent, missed })
    }
}
