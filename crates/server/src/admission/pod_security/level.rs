//! What a namespace's `pod-security.kubernetes.io/` labels ask for (`pod-security-admission/api`).

use std::fmt;

use orlop_api::Value;
use orlop_api::field::{ErrorList, Path};

/// Strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level as it was in a version of Kubernetes: `v1.N`, or the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub level: Level,
    /// `None` is the latest.
    pub version: Option<u32>,
}

impl Bound {
    const NONE: Self = Self { level: Level::Privileged, version: None };
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Bound,
    pub warn: Bound,
    pub audit: Bound,
}

impl Policy {
    /// A policy always comes out; what is wrong with the labels comes with it.
    pub fn of(namespace: &Value) -> (Self, ErrorList) {
        let mut errors = ErrorList::default();
        let labels = &namespace["metadata"]["labels"];
        let mut bound = |mode: &str, wrong: Level| {
            let level = read(labels, mode, &mut errors, |text| match text {
                "privileged" => Ok(Level::Privileged),
                "baseline" => Ok(Level::Baseline),
                "restricted" => Ok(Level::Restricted),
                _ => Err((wrong, "must be one of privileged, baseline, restricted")),
            });
            let version = read(labels, &format!("{mode}-version"), &mut errors, |text| {
                let minor = text.strip_prefix("v1.").filter(|minor| *minor == "0" || !minor.starts_with('0'));
                match minor.map(str::parse) {
                    _ if text == "latest" => Ok(None),
                    Some(Ok(minor)) => Ok(Some(minor)),
                    _ => Err((None, "must be \"latest\" or \"v1.x\"")),
                }
            });
            (level, version)
        };
        let (enforce, audit, warn) =
            (bound("enforce", Level::Restricted), bound("audit", Level::Privileged), bound("warn", Level::Privileged));
        let make = |(level, version): (Option<Read<Level>>, Option<Read<Option<u32>>>)| Bound {
            level: level.map_or(Bound::NONE.level, |read| read.value),
            version: version.and_then(|read| read.value),
        };
        let mut policy = Self { enforce: make(enforce), audit: make(audit), warn: make(warn) };
        // Who enforces more than is warned of is warned of as much.
        let enforced = enforce.0.is_some_and(|read| read.valid);
        if warn.0.is_none() && enforced && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if warn.1.is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.warn, self.audit].iter().all(|bound| bound.level == Level::Privileged)
    }
}

#[derive(Clone, Copy)]
struct Read<T> {
    value: T,
    valid: bool,
}

fn read<T>(
    labels: &Value,
    name: &str,
    errors: &mut ErrorList,
    parse: impl Fn(&str) -> Result<T, (T, &'static str)>,
) -> Option<Read<T>> {
    let label = format!("pod-security.kubernetes.io/{name}");
    let text = labels[&label].as_str()?;
    Some(match parse(text) {
        Ok(value) => Read { value, valid: true },
        Err((value, why)) => {
            errors.invalid(&Path::new("metadata.labels").key(&label), text, why);
            Read { value, valid: false }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(labels: &Value) -> (String, String, usize) {
        let (policy, errors) = Policy::of(&json!({"metadata": {"labels": labels}}));
        (policy.enforce.to_string(), policy.warn.to_string(), errors.0.len())
    }

    #[test]
    fn labels_are_read_leniently_and_checked_strictly() {
        let label = |name: &str| format!("pod-security.kubernetes.io/{name}");
        let of = |pairs: &[(&str, &str)]| {
            policy(
                &pairs
                    .iter()
                    .map(|(name, value)| (label(name), json!(value)))
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
            )
        };
        assert_eq!(of(&[]), ("privileged:latest".into(), "privileged:latest".into(), 0));
        assert_eq!(
            of(&[("enforce", "baseline"), ("enforce-version", "v1.30")]),
            ("baseline:v1.30".into(), "baseline:v1.30".into(), 0)
        );
        assert_eq!(
            of(&[("enforce", "baseline"), ("warn", "privileged")]),
            ("baseline:latest".into(), "privileged:latest".into(), 0)
        );
        assert_eq!(of(&[("enforce", "open"), ("enforce-version", "1")]).0, "restricted:latest");
        assert_eq!(of(&[("enforce", "open"), ("enforce-version", "v1.01")]).2, 2);
    }
}
