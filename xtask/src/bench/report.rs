//! Samples become a table.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::terminal::note;

/// Where the table stands in docs/performance.md.
const BEGIN: &str = "<!-- cargo xtask bench --write: begin -->\n";
const END: &str = "<!-- cargo xtask bench --write: end -->\n";

#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Told along, to explain its neighbours.
    None,
}

/// One figure.
pub struct Row {
    figure: String,
    goal: Goal,
    unit: &'static str,
    samples: Vec<f64>,
}

impl Row {
    pub fn new(figure: impl Into<String>, goal: Goal, unit: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { figure: figure.into(), goal, unit, samples }
    }

    fn median(&self) -> f64 {
        quantile(&self.samples, 0.5)
    }

    fn verdict(&self) -> String {
        let median = self.median();
        match self.goal {
            Goal::AtMost(limit) if median > limit => format!("missed: {:.1} times it", median / limit),
            Goal::AtLeast(limit) if median < limit => format!("missed: {:.0} % of it", 100.0 * median / limit),
            Goal::None => String::new(),
            _ => "met".to_owned(),
        }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let unit = self.unit;
        let goal = match self.goal {
            Goal::AtMost(limit) => format!("at most {} {unit}", short(limit)),
            Goal::AtLeast(limit) => format!("at least {} {unit}", short(limit)),
            Goal::None => String::new(),
        };
        let (low, high) = (quantile(&self.samples, 0.0), quantile(&self.samples, 1.0));
        let spread = format!("{} to {} ({} runs)", short(low), short(high), self.samples.len());
        let spread = if self.samples.len() > 1 { spread } else { String::new() };
        write!(f, "| {} | {goal} | {} {unit} | {spread} | {} |", self.figure, short(self.median()), self.verdict())
    }
}

/// Of sorted samples, the nearest rank.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    sorted[(last as f64 * q).round() as usize]
}

/// Three digits that matter.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// What was measured, and on what.
pub struct Report {
    machine: String,
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Report {
    pub fn new() -> Self {
        Self { machine: machine(), rows: Vec::new(), failures: Vec::new() }
    }

    /// Takes rows in, and shows them at once: the whole takes minutes.
    pub fn add(&mut self, rows: Vec<Row>) -> Result<()> {
        for row in &rows {
            note(&row.to_string())?;
        }
        self.rows.extend(rows);
        Ok(())
    }

    pub fn fail(&mut self, reason: &str) -> Result<()> {
        note(reason)?;
        self.failures.push(reason.to_owned());
        Ok(())
    }

    pub fn write(&self) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| format!("# Performance\n\n{BEGIN}{END}"));
        let (head, rest) = text.split_once(BEGIN).context("docs/performance.md has no place for the table")?;
        let (_, tail) = rest.split_once(END).context("docs/performance.md has no end of the table")?;
        std::fs::write(&path, format!("{head}{BEGIN}{self}{END}{tail}")).context("writing docs/performance.md")
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "| figure | goal | median | spread | |\n|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        for failure in &self.failures {
            writeln!(f, "\nNot measured: {failure}")?;
        }
        writeln!(f, "\n{}", self.machine)
    }
}

/// Of the machine what changes figures; the load says how busy others kept it.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let stat = Command::new("stat").args(["-f", "-c", "%T"]).arg(std::env::temp_dir()).output();
    let disk = stat.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let build = if cfg!(debug_assertions) { " The load came from an unoptimized build of xtask." } else { "" };
    format!("{cores} cores, Linux {kernel}, data on {disk}; load average before the first run: {load}.{build}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_median_spread_and_verdict() {
        let cases = [
            (Goal::AtMost(2.0), vec![3.0, 1.0, 2.0], "| f | at most 2 s | 2 s | 1 to 3 (3 runs) | met |"),
            (Goal::AtMost(0.5), vec![1.25], "| f | at most 0.500 s | 1.25 s |  | missed: 2.5 times it |"),
            (Goal::AtLeast(100.0), vec![50.0], "| f | at least 100 s | 50 s |  | missed: 50 % of it |"),
            (Goal::None, vec![12.34], "| f |  | 12.3 s |  |  |"),
        ];
        for (goal, samples, text) in cases {
            assert_eq!(Row::new("f", goal, "s", samples).to_string(), text);
        }
    }
}
