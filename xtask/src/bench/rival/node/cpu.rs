//! CPU time of processes that come and go.

use std::collections::BTreeMap;

/// Of the times in /proc/PID/stat, on every architecture that Orlop runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process had used at a moment, in seconds.
#[derive(Default)]
pub struct Spent {
    /// Of each thread that lived, from nanoseconds: ticks are too coarse for what idles.
    threads: BTreeMap<u32, f64>,
    /// Of all children that had ended and been waited for, and of theirs.
    children: f64,
}

impl Spent {
    pub fn of(pid: u32) -> Option<Self> {
        let children = ended_children(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let threads = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, nanoseconds / 1e9))
        });
        Some(Self { threads: threads.collect(), children })
    }

    fn total(&self) -> f64 {
        self.threads.values().sum::<f64>() + self.children
    }

    /// A thread that has ended did its work before it began to idle.
    fn since(&self, before: &Self) -> f64 {
        let thread = |(id, seconds): (&u32, &f64)| seconds - before.threads.get(id).unwrap_or(&0.0);
        self.threads.iter().map(thread).sum::<f64>() + self.children - before.children
    }
}

/// Of many processes at one moment.
pub struct Cpu(BTreeMap<u32, Spent>);

impl FromIterator<(u32, Spent)> for Cpu {
    fn from_iter<I: IntoIterator<Item = (u32, Spent)>>(processes: I) -> Self {
        Self(processes.into_iter().collect())
    }
}

impl Cpu {
    /// Seconds that these processes, and those that ended meanwhile, have used since.
    pub fn since(&self, before: &Self) -> f64 {
        let nothing = Spent::default();
        let lived = self.0.iter().map(|(pid, spent)| spent.since(before.0.get(pid).unwrap_or(&nothing)));
        // A parent now has all time of a child that has ended, also from before.
        let ended = before.0.iter().filter(|(pid, _)| !self.0.contains_key(pid)).map(|(_, spent)| spent.total());
        lived.sum::<f64>() - ended.sum::<f64>()
    }
}

/// User and system time. A program's name may hold anything, a parenthesis too.
fn ended_children(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(13)? + ticks(14)?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(processes: &[(u32, &[(u32, f64)], f64)]) -> Cpu {
        let spent = |threads: &[(u32, f64)], children| Spent { threads: threads.iter().copied().collect(), children };
        processes.iter().map(|(pid, threads, children)| (*pid, spent(threads, *children))).collect()
    }

    #[test]
    fn the_time_of_ended_children_stands_behind_the_name() {
        let stat = "12 (a) b) S 7 12 12 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0 9 9 9";
        assert_eq!(ended_children(stat), Some(1.5));
    }

    #[test]
    fn what_ends_meanwhile_takes_nothing_away() {
        let before = cpu(&[(1, &[(1, 10.0), (5, 2.0)], 4.0), (9, &[(9, 3.0)], 0.0)]);
        // A thread has ended; process 9 has after half a second more, which its parent was told.
        let after = cpu(&[(1, &[(1, 10.25)], 7.5), (8, &[(8, 1.0)], 0.0)]);
        assert!((after.since(&before) - 1.75).abs() < 1e-9);
    }
}
