//! Requests in an order that matters, as `conformance/oracle/scripts` has them. A step is
//!
//! ```yaml
//! - ask: PATCH /api/v1/namespaces/oracle/configmaps/a?fieldManager=one
//!   type: application/apply-patch+yaml    # of the body; JSON if not said
//!   accept: application/yaml
//!   as: somebody                          # impersonated, with `groups`
//!   headers: {X-Any: value}
//!   body: {...}                           # or `text`, sent as it stands
//!   events: true                          # a watch; its query has a timeout
//!   until: {/status/allowed: true}        # asked again until the answer says so: caches follow a moment later
//!   keep: {rv: /metadata/resourceVersion} # each side's own, for `{{rv}}` in later steps
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method};
use orlop_api::Value;

use super::super::exchange::{Answer, Ask};
use super::super::judge::Judge;

/// What a side has said, by name.
type Kept = BTreeMap<String, String>;

pub async fn run(judge: &Judge<'_>, name: &str, steps: &[Value]) -> Result<()> {
    let (mut upstream, mut orlop) = (Kept::new(), Kept::new());
    for (at, step) in steps.iter().enumerate() {
        let ask = ask(step).with_context(|| format!("step {} of {name}", at + 1))?;
        let (ours, theirs) = (filled(&ask, &upstream), filled(&ask, &orlop));
        let (ours, theirs) = if step["events"] == true {
            let (ours, theirs) = tokio::join!(judge.sides.upstream.events(&ours), judge.sides.orlop.events(&theirs));
            (ours?, theirs?)
        } else {
            let until = &step["until"];
            let says = |answer: &Answer| {
                let mut wanted = until.as_object().into_iter().flatten();
                wanted.all(|(pointer, value)| answer.body.pointer(pointer) == Some(value))
            };
            both_until(judge, (&ours, &theirs), &says).await?
        };
        keep(step, &ours, &mut upstream);
        keep(step, &theirs, &mut orlop);
        let label = step["name"].as_str().unwrap_or_default();
        judge.note(&format!("script {name}"), &format!("step {} {label}", at + 1), &ask, &ours, &theirs);
    }
    Ok(())
}

/// How often a step with `until` is asked, and how long apart.
const ATTEMPTS: usize = 100;
const APART: Duration = Duration::from_millis(100);

/// Asks until both answers are what `says` wants, or it was asked often enough.
pub async fn both_until(
    judge: &Judge<'_>,
    asks: (&Ask, &Ask),
    says: &(dyn Fn(&Answer) -> bool + Sync),
) -> Result<(Answer, Answer)> {
    for _ in 1..ATTEMPTS {
        let (upstream, orlop) = judge.both(asks.0, asks.1).await?;
        if says(&upstream) && says(&orlop) {
            return Ok((upstream, orlop));
        }
        tokio::time::sleep(APART).await;
    }
    judge.both(asks.0, asks.1).await
}

fn ask(step: &Value) -> Result<Ask> {
    let text = |key: &str| step[key].as_str();
    let (method, path) = text("ask").and_then(|ask| ask.split_once(' ')).context("`ask` is a method and a path")?;
    let mut ask = Ask::new(Method::from_bytes(method.as_bytes())?, path);
    if let Some(body) = step.get("body") {
        ask.body = body.to_string().into();
    } else if let Some(body) = text("text") {
        ask.body = body.to_owned().into();
    }
    if !ask.body.is_empty() || step.get("type").is_some() {
        ask = ask.with(CONTENT_TYPE, text("type").unwrap_or("application/json"));
    }
    if let Some(accept) = text("accept") {
        ask = ask.accept(accept);
    }
    if let Some(user) = text("as") {
        ask = ask.with(HeaderName::from_static("impersonate-user"), user);
    }
    for group in step["groups"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ask = ask.with(HeaderName::from_static("impersonate-group"), group);
    }
    for (name, value) in step["headers"].as_object().into_iter().flatten() {
        ask = ask.with(HeaderName::from_bytes(name.as_bytes())?, value.as_str().unwrap_or_default());
    }
    Ok(ask)
}

fn filled(ask: &Ask, kept: &Kept) -> Ask {
    let mut body = String::from_utf8_lossy(&ask.body).into_owned();
    let mut path = ask.path.clone();
    for (name, value) in kept {
        let place = format!("{{{{{name}}}}}");
        body = body.replace(&place, value);
        path = path.replace(&place, value);
    }
    Ask { path, body: body.into(), ..ask.clone() }
}

fn keep(step: &Value, answer: &Answer, kept: &mut Kept) {
    for (name, pointer) in step["keep"].as_object().into_iter().flatten() {
        let found = answer.body.pointer(pointer.as_str().unwrap_or_default()).and_then(Value::as_str);
        kept.insert(name.clone(), found.unwrap_or("nothing").to_owned());
    }
}
