//! Developer tasks: `cargo xtask <task>`. One file for each.

mod gen_api;
mod layers;

use clap::Parser;

#[derive(Parser)]
enum Task {
    /// Generate the field tables of every built-in type from Kubernetes' published definitions.
    GenApi(gen_api::Args),
    /// Check that crates depend only on crates of lower layers.
    Layers,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::GenApi(args) => gen_api::run(&args),
        Task::Layers => layers::run(),
    }
}
