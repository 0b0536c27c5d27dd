//! `--audit-*`, under kube-apiserver's names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgAction, Args, ValueEnum};
use orlop_server::audit::{Batch, Format, HookOptions, LogOptions, Mode, Options, Truncation};

use crate::duration::parse_duration;

#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Audit")]
pub struct Arguments {
    /// What is recorded of requests: an audit.k8s.io/v1 Policy
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// Where events are written; '-' is standard output
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    audit_log_path: Option<PathBuf>,
    /// Form of a line
    #[arg(long, value_enum, default_value = "json")]
    audit_log_format: LogFormat,
    /// Version of written events
    #[arg(long, default_value = VERSION)]
    audit_log_version: String,
    /// Days that old files are kept; 0 keeps them whatever their age
    #[arg(long, default_value_t = 366, allow_negative_numbers = true)]
    audit_log_maxage: i64,
    /// Old files that are kept; 0 keeps all
    #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
    audit_log_maxbackup: i64,
    /// Megabytes after which a file is begun anew; 0 never does
    #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
    audit_log_maxsize: i64,
    /// Pack old files
    #[arg(long)]
    audit_log_compress: bool,
    /// Whether requests wait until their events are written
    #[arg(long, value_enum, default_value = "blocking")]
    audit_log_mode: SinkMode,
    #[command(flatten)]
    log_batch: LogBatch,
    /// Where events are sent, in the form of a kubeconfig
    #[arg(long, value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// Version of sent events
    #[arg(long, default_value = VERSION)]
    audit_webhook_version: String,
    /// Whether requests wait until their events are sent
    #[arg(long, value_enum, default_value = "batch")]
    audit_webhook_mode: SinkMode,
    /// Wait before a batch is tried again
    #[arg(long, default_value = "10s", value_parser = parse_duration, alias = "audit-webhook-batch-initial-backoff")]
    audit_webhook_initial_backoff: Duration,
    #[command(flatten)]
    webhook_batch: WebhookBatch,
}

const VERSION: &str = "audit.k8s.io/v1";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Json,
    Legacy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SinkMode {
    Batch,
    Blocking,
    BlockingStrict,
}

impl From<SinkMode> for Mode {
    fn from(mode: SinkMode) -> Self {
        match mode {
            SinkMode::Batch => Self::Batch,
            SinkMode::Blocking => Self::Blocking,
            SinkMode::BlockingStrict => Self::BlockingStrict,
        }
    }
}

/// Batches and truncation are asked for alike by both sinks.
macro_rules! batch_arguments {
    ($name:ident, $sink:literal, $max_size:literal, $throttle:literal) => {
        #[derive(Args, Clone, Debug)]
        struct $name {
            /// Events that may wait; more are lost
            #[arg(long = concat!("audit-", $sink, "-batch-buffer-size"), id = concat!($sink, "-buffer-size"),
                  value_name = "EVENTS", default_value_t = 10_000, allow_negative_numbers = true)]
            buffer_size: i64,
            /// Events of a batch
            #[arg(long = concat!("audit-", $sink, "-batch-max-size"), id = concat!($sink, "-max-size"),
                  value_name = "EVENTS", default_value_t = $max_size, allow_negative_numbers = true)]
            max_size: i64,
            /// Time after which a batch leaves though it is not full
            #[arg(long = concat!("audit-", $sink, "-batch-max-wait"), id = concat!($sink, "-max-wait"),
                  value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
            max_wait: Duration,
            /// Limit batches per second
            #[arg(long = concat!("audit-", $sink, "-batch-throttle-enable"), id = concat!($sink, "-throttle-enable"),
                  action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true",
                  default_value_t = $throttle)]
            throttle_enable: bool,
            /// Batches per second, on average
            #[arg(long = concat!("audit-", $sink, "-batch-throttle-qps"), id = concat!($sink, "-throttle-qps"),
                  value_name = "N", default_value_t = 10.0, allow_negative_numbers = true)]
            throttle_qps: f64,
            /// Batches at once after a pause
            #[arg(long = concat!("audit-", $sink, "-batch-throttle-burst"), id = concat!($sink, "-throttle-burst"),
                  value_name = "N", default_value_t = 15, allow_negative_numbers = true)]
            throttle_burst: i64,
            /// Limit the size of events and batches
            #[arg(long = concat!("audit-", $sink, "-truncate-enabled"), id = concat!($sink, "-truncate-enabled"))]
            truncate: bool,
            /// Bytes of a batch
            #[arg(long = concat!("audit-", $sink, "-truncate-max-batch-size"), id = concat!($sink, "-batch-bytes"),
                  value_name = "BYTES", default_value_t = 10 * 1024 * 1024, allow_negative_numbers = true)]
            max_batch_bytes: i64,
            /// Bytes of an event; what is larger loses its objects, or is lost
            #[arg(long = concat!("audit-", $sink, "-truncate-max-event-size"), id = concat!($sink, "-event-bytes"),
                  value_name = "BYTES", default_value_t = 100 * 1024, allow_negative_numbers = true)]
            max_event_bytes: i64,
        }

        impl $name {
            fn options(&self) -> (Batch, Truncation) {
                let batch = Batch {
                    buffer_size: self.buffer_size,
                    max_size: self.max_size,
                    max_wait: self.max_wait,
                    throttle_enable: self.throttle_enable,
                    throttle_qps: self.throttle_qps,
                    throttle_burst: self.throttle_burst,
                };
                let truncation = Truncation {
                    enabled: self.truncate,
                    max_batch_size: self.max_batch_bytes,
                    max_event_size: self.max_event_bytes,
                };
                (batch, truncation)
            }
        }
    };
}

batch_arguments!(LogBatch, "log", 1, false);
batch_arguments!(WebhookBatch, "webhook", 400, true);

impl Arguments {
    pub fn options(&self) -> Result<Options> {
        for version in [&self.audit_log_version, &self.audit_webhook_version] {
            if version != VERSION {
                bail!("invalid group version, allowed versions are [{VERSION:?}]");
            }
        }
        Ok(Options {
            policy_file: self.audit_policy_file.clone(),
            log: self.audit_log_path.as_deref().map(|path| self.log(path)),
            hook: self.audit_webhook_config_file.as_deref().map(|file| self.hook(file)),
        })
    }

    fn log(&self, path: &Path) -> LogOptions {
        let (batch, truncation) = self.log_batch.options();
        LogOptions {
            path: path.to_owned(),
            mode: self.audit_log_mode.into(),
            format: match self.audit_log_format {
                LogFormat::Json => Format::Json,
                LogFormat::Legacy => Format::Legacy,
            },
            max_age: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_size: self.audit_log_maxsize,
            compress: self.audit_log_compress,
            batch,
            truncation,
        }
    }

    fn hook(&self, config_file: &Path) -> HookOptions {
        let (batch, truncation) = self.webhook_batch.options();
        HookOptions {
            config_file: config_file.to_owned(),
            mode: self.audit_webhook_mode.into(),
            initial_backoff: self.audit_webhook_initial_backoff,
            batch,
            truncation,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        audit: Arguments,
    }

    #[test]
    fn flags_and_defaults_are_upstreams() {
        let parse = |flags: &[&str]| {
            let line = std::iter::once("x").chain(flags.iter().copied());
            Line::try_parse_from(line).expect("parsed").audit.options().expect("options")
        };
        assert!(parse(&[]).log.is_none());
        let options = parse(&[
            "--audit-log-path=-",
            "--audit-webhook-config-file=hook.yaml",
            "--audit-webhook-batch-throttle-enable=false",
            "--audit-webhook-batch-max-wait=1m30s",
            "--audit-log-mode=blocking-strict",
        ]);
        let (log, hook) = (options.log.expect("log"), options.hook.expect("hook"));
        assert_eq!(
            (log.mode, log.format, log.max_size, log.batch.max_size),
            (Mode::BlockingStrict, Format::Json, 100, 1)
        );
        assert!(!log.batch.throttle_enable && !hook.batch.throttle_enable);
        assert_eq!((hook.mode, hook.batch.max_size, hook.batch.max_wait), (Mode::Batch, 400, Duration::from_secs(90)));
    }
}
