//! Schedules of CronJobs.

use orlop_api::cron::Schedule;

use crate::Target;

pub const TARGET: Target = Target {
    name: "cron",
    corpus: None,
    seeds: &[b"*/5 1-3,7 ? JAN-MAR mon", b"@hourly", b"@every 1h30m", b"TZ=Europe/Berlin 0 0 29 2 *"],
    run,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Schedule::parse(text);
}
