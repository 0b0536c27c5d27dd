//! How requests are served, under kube-apiserver's names.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{ArgAction, Args};
use orlop_server::{Features, Limits};

use crate::duration::parse_duration;

#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Serving")]
pub struct Arguments {
    /// Time a request may take, unless it is a watch, a stream or asks for less
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = parse_duration)]
    request_timeout: Duration,
    /// Seconds that watches last at least; each lasts up to twice as long
    #[arg(long, default_value_t = 1800, value_name = "SECONDS", allow_negative_numbers = true)]
    min_request_timeout: i64,
    /// Divide what is served at once by FlowSchemas and PriorityLevelConfigurations
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_priority_and_fairness: bool,
    /// Reads under way at once; with priority and fairness the sum of both counts
    #[arg(long, default_value_t = 400, value_name = "N", allow_negative_numbers = true)]
    max_requests_inflight: i64,
    /// Writes under way at once
    #[arg(long, default_value_t = 200, value_name = "N", allow_negative_numbers = true)]
    max_mutating_requests_inflight: i64,
    /// Share of requests after which an HTTP/2 connection is given up, up to 0.02: for several servers behind a balancer
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", allow_negative_numbers = true)]
    goaway_chance: f64,
    /// Time between a signal to stop, from which on readiness fails, and its beginning
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    pub shutdown_delay_duration: Duration,
    /// Features to switch on or off: of upstream's, CBORServingAndStorage can be set, the others stay at their default
    #[arg(long, value_name = "NAME=BOOL,...")]
    feature_gates: Vec<String>,
}

impl Arguments {
    pub fn features(&self) -> Result<Features> {
        Features::parse(&self.feature_gates.join(",")).map_err(|why| anyhow!("--feature-gates: {why}"))
    }

    pub fn limits(&self) -> Result<Limits> {
        if !(0.0..=0.02).contains(&self.goaway_chance) {
            bail!("--goaway-chance can not be less than 0 or greater than 0.02");
        }
        let count = |flag: &str, n: i64| match u64::try_from(n) {
            Ok(n) => Ok(n),
            Err(_) => bail!("--{flag} can not be negative value"),
        };
        Ok(Limits {
            request_timeout: self.request_timeout,
            min_watch_seconds: count("min-request-timeout", self.min_request_timeout)?,
            reads: count("max-requests-inflight", self.max_requests_inflight)? as usize,
            writes: count("max-mutating-requests-inflight", self.max_mutating_requests_inflight)? as usize,
            fair: self.enable_priority_and_fairness,
            goaway_chance: self.goaway_chance,
        })
    }
}
