//! Sends requests to both sides and notes how the answers differ.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::difference::{Difference, compare};
use super::exchange::{Answer, Ask};
use super::normal::normalize;
use super::sides::Sides;

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// A request with a name.
pub struct Case {
    pub name: String,
    pub ask: Ask,
}

/// Differences with one gist.
#[derive(Clone)]
pub struct Finding {
    pub count: usize,
    /// The first case that shows it.
    pub case: String,
    pub ask: String,
    pub difference: Difference,
}

/// What came out for one kind.
#[derive(Clone, Default)]
pub struct Tally {
    pub requests: usize,
    /// Requests whose answers differ.
    pub differing: usize,
    pub findings: BTreeMap<String, Finding>,
}

pub struct Judge<'a> {
    pub sides: &'a Sides,
    tallies: Mutex<BTreeMap<String, Tally>>,
}

impl<'a> Judge<'a> {
    pub fn new(sides: &'a Sides) -> Self {
        Self { sides, tallies: Mutex::default() }
    }

    pub fn into_tallies(self) -> BTreeMap<String, Tally> {
        self.tallies.into_inner().unwrap_or_default()
    }

    /// Requests that do not see one another's effects.
    pub async fn all(&self, kind: &str, cases: Vec<Case>) -> Result<()> {
        let answers = stream::iter(cases).map(|case| async move {
            let (upstream, orlop) = self.both(&case.ask, &case.ask).await?;
            Ok::<_, anyhow::Error>((case, upstream, orlop))
        });
        // In order, so that the first case with a gist is the same at every run.
        let mut answers = answers.buffered(AT_ONCE);
        while let Some((case, upstream, orlop)) = answers.try_next().await? {
            self.note(kind, &case.name, &case.ask, &upstream, &orlop);
        }
        Ok(())
    }

    /// One request.
    pub async fn one(&self, kind: &str, name: impl Into<String>, ask: Ask) -> Result<(Answer, Answer)> {
        let (upstream, orlop) = self.both(&ask, &ask).await?;
        self.note(kind, &name.into(), &ask, &upstream, &orlop);
        Ok((upstream, orlop))
    }

    pub async fn both(&self, upstream: &Ask, orlop: &Ask) -> Result<(Answer, Answer)> {
        let (upstream, orlop) = tokio::join!(self.sides.upstream.send(upstream), self.sides.orlop.send(orlop));
        let (upstream, orlop) = (upstream?, orlop?);
        if upstream.status == 0 || orlop.status == 0 {
            self.sides.still_there().await?;
        }
        Ok((upstream, orlop))
    }

    /// `ask` is what was sent but for what each side had said before.
    pub fn note(&self, kind: &str, name: &str, ask: &Ask, upstream: &Answer, orlop: &Answer) {
        let upstream = normalize(upstream.clone(), ask, &self.sides.upstream);
        let orlop = normalize(orlop.clone(), ask, &self.sides.orlop);
        self.record(kind, name, &ask.to_string(), compare(&upstream, &orlop));
    }

    pub fn record(&self, kind: &str, name: &str, ask: &str, differences: Vec<Difference>) {
        let Ok(mut tallies) = self.tallies.lock() else { return };
        let tally = tallies.entry(kind.to_owned()).or_default();
        tally.requests += 1;
        tally.differing += usize::from(!differences.is_empty());
        for difference in differences {
            let found = tally.findings.entry(difference.gist.clone()).or_insert_with(|| Finding {
                count: 0,
                case: name.to_owned(),
                ask: ask.to_owned(),
                difference,
            });
            found.count += 1;
        }
    }
}
