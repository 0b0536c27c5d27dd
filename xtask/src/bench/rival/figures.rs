//! Samples of both sides become a table of ratios.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Context, Result};

use super::side::Who;
use crate::bench::report::{machine, quantile, short};
use crate::terminal::note;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    PodsPerSecond,
    Seconds,
    Milliseconds,
    Microseconds,
    CpuSeconds,
    Megabytes,
    PercentOfCore,
}

impl Unit {
    fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::PodsPerSecond)
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::PerSecond => "/s",
            Self::PodsPerSecond => "pods/s",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::CpuSeconds => "CPU s",
            Self::Megabytes => "MB",
            Self::PercentOfCore => "% of a core",
        })
    }
}

/// What one side scored.
#[derive(Clone, Default)]
struct Score {
    samples: Vec<f64>,
    /// Why there are no samples.
    missing: Option<String>,
}

impl Score {
    fn median(&self) -> Option<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
    }

    fn text(&self, unit: Unit) -> String {
        let Some(median) = self.median() else {
            return format!("not measured: {}", self.missing.as_deref().unwrap_or("it was not reached"));
        };
        if self.samples.len() == 1 {
            return format!("{} {unit}", short(median));
        }
        let low = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} {unit} ({} to {})", short(median), short(low), short(high))
    }
}

struct Row {
    figure: String,
    unit: Unit,
    orlop: Score,
    upstream: Score,
}

impl Row {
    /// How many times better Orlop is.
    fn ratio(&self) -> Option<f64> {
        let (orlop, upstream) = (self.orlop.median()?, self.upstream.median()?);
        Some(if self.unit.more_is_better() { orlop / upstream } else { upstream / orlop })
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let ratio = match self.ratio() {
            Some(ratio) if ratio < 1.0 => format!("{ratio:.2}, behind"),
            Some(ratio) => format!("{ratio:.1}"),
            None => String::new(),
        };
        write!(f, "| {} | {} | {} | {ratio} |", self.figure, self.orlop.text(self.unit), self.upstream.text(self.unit))
    }
}

/// One part's rows, in the order in which they were first told of.
pub struct Figures {
    machine: String,
    rows: Vec<Row>,
}

impl Figures {
    pub fn new() -> Self {
        Self { machine: machine(), rows: Vec::new() }
    }

    pub fn add(&mut self, who: Who, figure: &str, unit: Unit, sample: f64) -> Result<()> {
        note(&format!("{who:?}: {figure}: {} {unit}", short(sample)))?;
        self.score(who, figure, unit).samples.push(sample);
        Ok(())
    }

    pub fn missing(&mut self, who: Who, figure: &str, unit: Unit, reason: &str) -> Result<()> {
        note(&format!("{who:?}: {figure}: {reason}"))?;
        self.score(who, figure, unit).missing = Some(reason.replace('\n', " ").replace('|', "/"));
        Ok(())
    }

    fn score(&mut self, who: Who, figure: &str, unit: Unit) -> &mut Score {
        let at = self.rows.iter().position(|row| row.figure == figure).unwrap_or_else(|| {
            let (orlop, upstream) = Default::default();
            self.rows.push(Row { figure: figure.to_owned(), unit, orlop, upstream });
            self.rows.len() - 1
        });
        match who {
            Who::Orlop => &mut self.rows[at].orlop,
            Who::Upstream => &mut self.rows[at].upstream,
        }
    }

    /// Puts the table into its place in docs/performance.md.
    pub fn write(&self, part: &str, flags: &str, version: &str) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let text = std::fs::read_to_string(&path).context("reading docs/performance.md")?;
        let mark = |end| format!("<!-- cargo xtask bench --vs upstream: {part}: {end} -->\n");
        let (begin, end) = (mark("begin"), mark("end"));
        let place = || format!("docs/performance.md has no place for {part}");
        let (head, rest) = text.split_once(&begin).with_context(place)?;
        let (_, tail) = rest.split_once(&end).with_context(place)?;
        let made =
            format!("`cargo xtask bench --vs upstream --only {part}{flags}`, Kubernetes {version}: {}", self.machine);
        let text = format!("{head}{begin}{self}\n{made}\n{end}{tail}");
        std::fs::write(&path, text).context("writing docs/performance.md")
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "| figure | Orlop | upstream | ratio |\n|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unit: Unit, orlop: &[f64], upstream: &[f64]) -> String {
        let score = |samples: &[f64]| Score { samples: samples.to_vec(), missing: None };
        Row { figure: "f".to_owned(), unit, orlop: score(orlop), upstream: score(upstream) }.to_string()
    }

    #[test]
    fn a_ratio_tells_how_many_times_better_orlop_is() {
        let cases = [
            (row(Unit::PerSecond, &[300.0, 100.0, 200.0], &[50.0]), "| f | 200 /s (100 to 300) | 50 /s | 4.0 |"),
            (row(Unit::Seconds, &[2.0], &[5.0]), "| f | 2 s | 5 s | 2.5 |"),
            (row(Unit::Seconds, &[5.0], &[2.0]), "| f | 5 s | 2 s | 0.40, behind |"),
            (row(Unit::Seconds, &[5.0], &[]), "| f | 5 s | not measured: it was not reached |  |"),
        ];
        for (row, text) in cases {
            assert_eq!(row, text);
        }
    }
}
