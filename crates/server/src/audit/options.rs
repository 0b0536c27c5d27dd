//! What `--audit-*` flags ask for, and upstream's words for what they may not
//! (`k8s.io/apiserver/pkg/server/options/audit.go`).

use std::path::PathBuf;
use std::time::Duration;

use super::log::Format;
use super::policy::PolicyError;

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub policy_file: Option<PathBuf>,
    pub log: Option<LogOptions>,
    pub hook: Option<HookOptions>,
}

/// Whether requests wait for their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Buffered, written by a task of its own.
    Batch,
    /// Written before the answer goes out.
    Blocking,
    /// And without a written event for its arrival a request fails.
    BlockingStrict,
}

#[derive(Clone, Debug)]
pub struct Batch {
    /// Events waiting; more are lost.
    pub buffer_size: i64,
    pub max_size: i64,
    pub max_wait: Duration,
    pub throttle_enable: bool,
    /// Batches a second, on average.
    pub throttle_qps: f64,
    pub throttle_burst: i64,
}

#[derive(Clone, Debug)]
pub struct Truncation {
    pub enabled: bool,
    /// Bytes.
    pub max_batch_size: i64,
    pub max_event_size: i64,
}

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `-` is standard output.
    pub path: PathBuf,
    pub mode: Mode,
    pub format: Format,
    /// Days; 0 keeps old files whatever their age.
    pub max_age: i64,
    /// Old files; 0 keeps all.
    pub max_backups: i64,
    /// Megabytes; 0 never begins another file.
    pub max_size: i64,
    pub compress: bool,
    pub batch: Batch,
    pub truncation: Truncation,
}

#[derive(Clone, Debug)]
pub struct HookOptions {
    /// In the form of a kubeconfig.
    pub config_file: PathBuf,
    pub mode: Mode,
    pub initial_backoff: Duration,
    pub batch: Batch,
    pub truncation: Truncation,
}

#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("loading audit policy file: {0}")]
    Policy(PolicyError),
    #[error("{0}")]
    Invalid(String),
    #[error("ensureLogFile: {0}")]
    Log(std::io::Error),
    #[error("initializing audit webhook: {0}")]
    Hook(#[from] orlop_client::config::ConfigError),
}

impl Options {
    pub fn validate(&self) -> Result<(), OptionsError> {
        let mut found = Vec::new();
        if let Some(log) = &self.log {
            found.extend(log.batch.invalid("log", log.mode));
            found.extend(log.truncation.invalid("log"));
            let negative = [("maxage", log.max_age), ("maxbackup", log.max_backups), ("maxsize", log.max_size)];
            let negative = negative.into_iter().filter(|(_, value)| *value < 0);
            found.extend(negative.map(|(flag, n)| format!("--audit-log-{flag} {n} can't be a negative number")));
        }
        if let Some(hook) = &self.hook {
            found.extend(hook.batch.invalid("webhook", hook.mode));
            found.extend(hook.truncation.invalid("webhook"));
        }
        match found.as_slice() {
            [] => Ok(()),
            [one] => Err(OptionsError::Invalid(one.clone())),
            many => Err(OptionsError::Invalid(format!("[{}]", many.join(", ")))),
        }
    }
}

impl Batch {
    /// The first thing wrong, where batches are made at all.
    fn invalid(&self, plugin: &str, mode: Mode) -> Option<String> {
        let positive = "must be a positive number";
        let (qps, burst) = (self.throttle_qps, self.throttle_burst);
        match self {
            _ if mode != Mode::Batch => None,
            Self { buffer_size: n @ ..=0, .. } => {
                Some(format!("invalid audit batch {plugin} buffer size {n}, {positive}"))
            }
            Self { max_size: n @ ..=0, .. } => {
                Some(format!("invalid audit batch {plugin} max batch size {n}, {positive}"))
            }
            Self { throttle_enable: true, .. } if qps <= 0.0 => {
                Some(format!("invalid audit batch {plugin} throttle QPS {qps}, {positive}"))
            }
            Self { throttle_enable: true, .. } if burst <= 0 => {
                Some(format!("invalid audit batch {plugin} throttle burst {burst}, {positive}"))
            }
            _ => None,
        }
    }
}

impl Truncation {
    fn invalid(&self, plugin: &str) -> Option<String> {
        let (event, batch) = (self.max_event_size, self.max_batch_size);
        if event <= 0 {
            return Some(format!("invalid audit truncate {plugin} max event size {event}, must be a positive number"));
        }
        (batch < event).then(|| {
            format!(
                "invalid audit truncate {plugin} max batch size {batch}, must be greater than max event size ({event})"
            )
        })
    }

    /// Bytes an event may have, where that is limited.
    pub(super) fn limit(&self) -> Option<usize> {
        self.enabled.then(|| usize::try_from(self.max_event_size).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_numbers_are_refused_in_upstreams_words() {
        let batch = Batch {
            buffer_size: 0,
            max_size: 1,
            max_wait: Duration::ZERO,
            throttle_enable: false,
            throttle_qps: 0.0,
            throttle_burst: 0,
        };
        let truncation = Truncation { enabled: false, max_batch_size: 1, max_event_size: 2 };
        let log = LogOptions {
            path: "-".into(),
            mode: Mode::Batch,
            format: Format::Json,
            max_age: -1,
            max_backups: 0,
            max_size: 0,
            compress: false,
            batch,
            truncation,
        };
        let options = Options { log: Some(log), ..Options::default() };
        assert_eq!(
            options.validate().expect_err("refused").to_string(),
            "[invalid audit batch log buffer size 0, must be a positive number, invalid audit truncate log max batch \
             size 1, must be greater than max event size (2), --audit-log-maxage -1 can't be a negative number]"
        );
    }
}
