//! `--tracing-config-file`, under kube-apiserver's name.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use orlop_server::trace::{Configuration, Tracer};

#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Traces")]
pub struct Arguments {
    /// Where OpenTelemetry traces go and how many: an apiserver.config.k8s.io/v1 TracingConfiguration
    #[arg(long, value_name = "FILE")]
    tracing_config_file: Option<PathBuf>,
}

impl Arguments {
    /// Must be called within a tokio runtime.
    pub fn start(&self) -> Result<Option<Arc<Tracer>>> {
        let Some(path) = &self.tracing_config_file else { return Ok(None) };
        let configuration = Configuration::load(path).context("setting up tracing")?;
        Ok(Some(Tracer::start(&configuration)))
    }
}
