//! `wait`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use orlop_client::{WatchEvent, WatchOptions};
use serde_json::Value;

use super::selection::{Found, Selectors, find};
use crate::manifest::Files;
use crate::print::Printer;
use crate::session::{Session, is_not_found};
use orlop_api::jsonpath::Template;

#[derive(Args, Debug)]
pub struct Arguments {
    /// TYPE NAME... or TYPE/NAME...
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// delete, create, condition=NAME[=VALUE] or jsonpath='{PATH}'=VALUE
    #[arg(long = "for", value_name = "CONDITION")]
    condition: String,
    /// Everything of the type
    #[arg(long)]
    all: bool,
    /// How long to wait: 30s, 5m
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

/// Go's duration text: `90s`, `1m30s`, `0` (look once).
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed = orlop_api::duration::parse(text).map_err(|e| e.to_string())?;
    u64::try_from(parsed).map(Duration::from_nanos).map_err(|_| format!("{text} is negative"))
}

#[derive(Debug)]
enum Condition {
    Delete,
    Create,
    Holds { ty: String, status: String },
    Path { path: Template, value: Option<String> },
}

impl Condition {
    fn parse(text: &str) -> Result<Self> {
        let (kind, rest) = text.split_once('=').unwrap_or((text, ""));
        Ok(match kind.to_lowercase().as_str() {
            "delete" => Self::Delete,
            "create" => Self::Create,
            "condition" => {
                let (ty, status) = rest.split_once('=').unwrap_or((rest, "true"));
                Self::Holds { ty: ty.to_lowercase(), status: status.to_lowercase() }
            }
            "jsonpath" => {
                let end = rest.rfind('}').map_or(rest.len(), |at| at + 1);
                let value = rest[end..].trim_start_matches(['\'', '"']).strip_prefix('=').map(str::to_owned);
                Self::Path { path: Template::parse(rest[..end].trim_matches('\''))?, value }
            }
            _ => bail!("unrecognized condition: {text:?}"),
        })
    }

    fn met_by(&self, object: &Value) -> bool {
        match self {
            Self::Delete => false,
            Self::Create => true,
            Self::Holds { ty, status } => {
                let generation = object["metadata"]["generation"].as_i64();
                let stale = |condition: &Value| {
                    let observed =
                        condition["observedGeneration"].as_i64().or(object["status"]["observedGeneration"].as_i64());
                    matches!((generation, observed), (Some(now), Some(seen)) if seen < now)
                };
                let text =
                    |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_lowercase();
                let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
                conditions.filter(|c| text(c, "type") == *ty).any(|c| text(c, "status") == *status && !stale(c))
            }
            Self::Path { path, value } => {
                let found = path.render(object);
                value.as_ref().map_or(!found.is_empty(), |wanted| found == *wanted)
            }
        }
    }
}

pub async fn run(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let condition = Condition::parse(&arguments.condition)?;
    let deadline = tokio::time::Instant::now() + arguments.timeout;
    let waiting = all(session, &arguments, &condition);
    tokio::time::timeout_at(deadline, waiting)
        .await
        .map_err(|_| anyhow!("timed out waiting for the condition on {}", arguments.words.join(" ")))?
}

async fn all(session: &Session, arguments: &Arguments, condition: &Condition) -> Result<ExitCode> {
    let found = loop {
        match find(session, &arguments.words, &arguments.files, &arguments.selectors, arguments.all).await {
            Err(error) if is_unreachable(&error) => {
                // A server that is just starting.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) if matches!(condition, Condition::Delete) && is_not_found(&error) => {
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) if matches!(condition, Condition::Create) && is_not_found(&error) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(found) if found.is_empty() && arguments.all => {
                // `--all` of something that is about to appear (the node of a starting cluster).
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            found => break found?,
        }
    };
    if found.is_empty() {
        bail!("no matching resources found");
    }
    for object in &found {
        one(session, object, condition).await?;
        let what = if matches!(condition, Condition::Delete) { "deleted" } else { "condition met" };
        Printer.line(format!("{} {what}", object.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(orlop_client::Error::Transport { .. }))
}

/// Returns when this very object is no more.
pub async fn gone(session: &Session, found: &Found) -> Result<()> {
    one(session, found, &Condition::Delete).await
}

/// Follows one object until the condition holds.
async fn one(session: &Session, found: &Found, condition: &Condition) -> Result<()> {
    let (api, uid) = (found.api(session), orlop_api::meta::uid(&found.object).to_owned());
    loop {
        let Some(current) = api.get_opt(found.name()).await? else {
            if matches!(condition, Condition::Delete) {
                return Ok(());
            }
            bail!("{} was deleted while waiting", found.display());
        };
        let replaced = orlop_api::meta::uid(&current.0) != uid;
        if condition.met_by(&current.0) || (replaced && matches!(condition, Condition::Delete)) {
            return Ok(());
        }
        let options = WatchOptions {
            field_selector: format!("metadata.name={}", found.name()),
            resource_version: orlop_api::meta::resource_version(&current.0).to_owned(),
            ..WatchOptions::default()
        };
        let mut watch = api.watch(&options).await?;
        while let Some(event) = watch.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) if condition.met_by(&object.0) => {
                    return Ok(());
                }
                Ok(WatchEvent::Deleted(_)) if matches!(condition, Condition::Delete) => return Ok(()),
                Ok(WatchEvent::Deleted(_)) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_read_and_met() {
        let object = json!({"metadata": {"generation": 2}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        for (text, met) in [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=False", false),
            ("condition=Old", false),
            ("condition=Missing", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath='{.status.phase}'=Failed", false),
            ("jsonpath={.status.phase}", true),
            ("delete", false),
            ("create", true),
        ] {
            assert_eq!(Condition::parse(text).unwrap().met_by(&object), met, "{text}");
        }
        assert!(Condition::parse("ready").is_err());
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("10").unwrap(), Duration::from_secs(10));
        assert!(duration("-1s").is_err() && duration("x").is_err());
    }
}
