//! What a run tells people, in Markdown.

use std::fmt::Write as _;

use super::tap::Step;
use crate::conformance::first_lines;

/// What came of one client.
pub struct Outcome {
    pub client: &'static str,
    pub version: String,
    pub steps: Vec<Step>,
    pub seconds: f64,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        self.steps.iter().filter(|step| step.failure.is_some()).count()
    }
}

pub fn markdown(kubernetes: &str, outcomes: &[Outcome]) -> String {
    let mut text = format!("# Clients of Kubernetes {kubernetes} against Orlop\n\n");
    text += "| client | version | passed | failed | seconds |\n|---|---|---|---|---|\n";
    for outcome in outcomes {
        let Outcome { client, version, steps, seconds } = outcome;
        let failed = outcome.failures();
        let _ = writeln!(text, "| {client} | {version} | {} | {failed} | {seconds:.0} |", steps.len() - failed);
    }
    for Outcome { client, steps, .. } in outcomes {
        for Step { name, failure } in steps {
            if let Some(failure) = failure {
                let _ = writeln!(text, "\n## Failed: {client} {name}\n\n```\n{}\n```", first_lines(failure));
            }
        }
    }
    text += "\n## Every step\n\n| client | step | |\n|---|---|---|\n";
    for Outcome { client, steps, .. } in outcomes {
        for Step { name, failure } in steps {
            let verdict = if failure.is_none() { "passed" } else { "failed" };
            let _ = writeln!(text, "| {client} | {name} | {verdict} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_counts_and_says_what_failed() {
        let step = |name: &str, failure: Option<&str>| Step { name: name.into(), failure: failure.map(Into::into) };
        let steps = vec![step("installs", None), step("rolls back", Some("first\n\nsecond\n"))];
        let text = markdown("v1", &[Outcome { client: "helm3", version: "v3".into(), steps, seconds: 2.0 }]);
        for part in ["| helm3 | v3 | 1 | 1 | 2 |", "## Failed: helm3 rolls back\n\n```\nfirst\nsecond\n```"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
