//! What is said to whom: progress to standard error, reports to standard output.

use std::io::Write as _;

use anyhow::Result;

/// Progress; standard output is for the report alone.
pub fn note(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{line}")?)
}

pub fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
