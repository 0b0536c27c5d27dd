//! What a judge tells: the Test Anything Protocol, <https://testanything.org>.

/// One thing that was tried.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    /// None when it worked.
    pub failure: Option<String>,
}

/// The steps, and one that failed if there are not as many as the judge says at its end.
pub fn steps(told: &str) -> Vec<Step> {
    let (mut steps, mut planned) = (Vec::<Step>::new(), None);
    for line in told.lines() {
        if let Some(name) = line.strip_prefix("ok ") {
            steps.push(Step { name: after_number(name), failure: None });
        } else if let Some(name) = line.strip_prefix("not ok ") {
            steps.push(Step { name: after_number(name), failure: Some(String::new()) });
        } else if let Some(count) = line.strip_prefix("1..") {
            planned = count.parse().ok();
        } else if let Some(said) = line.strip_prefix('#')
            && let Some(failure) = steps.last_mut().and_then(|step| step.failure.as_mut())
        {
            *failure += said.strip_prefix(' ').unwrap_or(said);
            failure.push('\n');
        }
    }
    if planned != Some(steps.len()) {
        let failure = Some(format!("{} steps were told, the plan is {planned:?}", steps.len()));
        steps.push(Step { name: "reaches its end".to_owned(), failure });
    }
    steps
}

/// `12 - it works` is called `it works`.
fn after_number(text: &str) -> String {
    text.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches([' ', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, failure: Option<&str>) -> Step {
        Step { name: name.into(), failure: failure.map(Into::into) }
    }

    #[test]
    fn steps_are_read_with_what_failed() {
        let told = "ok 1 - one\nnot ok 2 - two-fold\n# why\n#\n# more\nnoise\nok 3 - three\n# a remark\n1..3\n";
        assert_eq!(steps(told), [step("one", None), step("two-fold", Some("why\n\nmore\n")), step("three", None)]);
    }

    #[test]
    fn a_judge_that_ends_early_has_failed() {
        let early = step("reaches its end", Some("1 steps were told, the plan is None"));
        assert_eq!(steps("ok 1 - one\n"), [step("one", None), early]);
        assert_eq!(steps("ok 1 - one\n1..2\n").len(), 2);
        assert_eq!(steps("").len(), 1);
    }
}
