//! Every object of the corpus and every mutation of it through every verb. What is spoiled is sent as a dry run,
//! so that no request sees another's effect.

use std::collections::HashSet;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::Method;
use orlop_api::{Value, meta};

use super::super::corpus::Subject;
use super::super::exchange::Ask;
use super::super::judge::{Case, Judge};
use super::super::mutate::{Scope, mutations};
use super::stored;

const DRY: &str = "?dryRun=All";

/// Of the mutations every `sample`th is asked.
pub async fn run(judge: &Judge<'_>, subject: &Subject, sample: usize) -> Result<()> {
    let label = subject.label();
    check(judge, subject).await?;
    judge.all(&label, creations(subject, sample)).await?;
    if subject.has_verb("get") && !subject.never_stored {
        stored::run(judge, subject, sample).await?;
    }
    Ok(())
}

/// What the corpus calls valid must be, to the last field: else whatever is made of it breaks the same rule, and no
/// other is heard of.
async fn check(judge: &Judge<'_>, subject: &Subject) -> Result<()> {
    for (name, object) in &subject.valid {
        let path = format!("{}{DRY}&fieldValidation=Strict", subject.collection(meta::namespace(object)));
        let ask = Ask::json(Method::POST, path, object);
        let (upstream, _) = judge.both(&ask, &ask).await?;
        if matches!(upstream.status, 400 | 422) {
            bail!("{name} is not valid: {}", upstream.body["message"]);
        }
    }
    Ok(())
}

fn creations(subject: &Subject, sample: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let path = subject.collection(meta::namespace(&subject.valid[0].1)) + DRY;
    for Spoiled { name, body, .. } in spoiled(subject, sample) {
        if name.contains("unknownField") {
            let path = format!("{path}&fieldValidation=Strict");
            cases.push(Case {
                name: format!("create {name}, strictly"),
                ask: Ask::body(Method::POST, path, body.clone()),
            });
        }
        cases.push(Case { name: format!("create {name}"), ask: Ask::body(Method::POST, &path, body) });
    }
    cases
}

/// An object of which something is wrong, mostly. There are many: each is kept as text.
pub struct Spoiled {
    pub name: String,
    /// Its `metadata.name`.
    pub object: String,
    pub body: Bytes,
}

/// The valid objects, the cases made by hand, and every `sample`th mutation of the valid ones; each once.
pub fn spoiled(subject: &Subject, sample: usize) -> Vec<Spoiled> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    let mut add = |name: String, object: &Value| {
        let body = Bytes::from(object.to_string());
        if seen.insert(body.clone()) {
            all.push(Spoiled { name, object: meta::name(object).to_owned(), body });
        }
    };
    for (name, object) in subject.valid.iter().chain(&subject.cases) {
        add(name.clone(), object);
    }
    if let Some(schema) = subject.kind.schema(&subject.version) {
        let scope = if subject.all_metadata { Scope::All } else { Scope::Own };
        // What the minimal object lacks is tried on it, not on each of the others again.
        for ((name, object), absent) in subject.valid.iter().zip([2, 1].into_iter().chain(std::iter::repeat(0))) {
            let mut count = 0;
            let mut take = |how: String, mutated: &Value| {
                count += 1;
                if count % sample == 0 {
                    add(format!("{name}: {how}"), mutated);
                }
            };
            mutations(schema.get(), object, scope, absent, &mut take);
        }
    }
    all
}
