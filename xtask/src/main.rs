//! Developer tasks: `cargo xtask <task>`. One file for each.

mod bench;
mod clients;
mod conformance;
mod gen_api;
mod layers;
mod machine;
mod node;
mod oracle;
mod process;
mod terminal;
mod upstream;
mod wish;

use clap::Parser;

#[derive(Parser)]
enum Task {
    /// Measure how fast and how small a release binary is.
    Bench(bench::Args),
    /// Run clients that people have, unmodified, against a release binary.
    Clients(clients::Args),
    /// Run the official conformance suite against a release binary.
    Conformance(conformance::Args),
    /// Generate the field tables of every built-in type from Kubernetes' published definitions.
    GenApi(gen_api::Args),
    /// Check that crates depend only on crates of lower layers.
    Layers,
    /// Ask upstream's API server and Orlop's the same and compare their answers.
    Oracle(oracle::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Bench(args) => bench::run(&args),
        Task::Clients(args) => clients::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::GenApi(args) => gen_api::run(&args),
        Task::Layers => layers::run(),
        Task::Oracle(args) => oracle::run(&args),
    }
}
