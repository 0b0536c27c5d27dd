//! `orlop image`: what is in this node's image store, and how to bring more.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use orlop_image::{Hosts, Image, ImageConfig, ImageService, ImageStore, Progress};

use crate::image_store;
use crate::logging::{answer, say};
use crate::paths::{self, Paths};
use crate::registries;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the cluster's state is kept
    #[arg(long, default_value = paths::DATA_DIR, global = true)]
    data_dir: PathBuf,
    /// Registry mirrors and credentials
    #[arg(long, default_value = registries::FILE, global = true)]
    registries: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List images
    Ls,
    /// Take in an OCI or docker archive
    Import {
        archive: PathBuf,
        /// Name it so, whatever the archive says
        #[arg(long)]
        name: Option<String>,
    },
    /// Write an image as an archive
    Export { name: String, archive: PathBuf },
    /// Remove an image
    Rm { names: Vec<String> },
    /// Fetch an image from its registry
    Pull { name: String },
    /// Make an image of a directory
    Build(Build),
}

#[derive(Args, Debug)]
struct Build {
    /// Name of the image
    name: String,
    /// Directory that becomes its root
    root: PathBuf,
    /// Write an archive instead of keeping the image here
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// KEY=VALUE
    #[arg(long)]
    env: Vec<String>,
    /// One word of the entry point
    #[arg(long, allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// One word of the default arguments
    #[arg(long, allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// User, as name or number
    #[arg(long, default_value = "")]
    user: String,
    #[arg(long, default_value = "")]
    working_dir: String,
    /// Signal that asks the program to stop
    #[arg(long, default_value = "")]
    stop_signal: String,
    /// A port it listens on, as 80/tcp
    #[arg(long)]
    expose: Vec<String>,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(act(arguments))
}

async fn act(arguments: Arguments) -> Result<()> {
    if let Action::Build(build) = &arguments.action
        && let Some(output) = &build.output
    {
        return build_archive(build, output).await;
    }
    let paths = Paths::new(&arguments.data_dir, paths::RUN_DIR.as_ref());
    let store = image_store::open(&paths, registries::read(&arguments.registries)?).await?;
    match arguments.action {
        Action::Ls => list(&store).await,
        Action::Import { archive, name } => {
            let images = store.import(&archive, name.as_deref(), Some(progress("importing"))).await;
            let images = images.with_context(|| format!("importing {}", archive.display()))?;
            let names = |image: &Image| name.clone().unwrap_or_else(|| image.repo_tags.join(", "));
            images.iter().for_each(|image| answer(format!("imported {}", names(image))));
            Ok(())
        }
        Action::Export { name, archive } => {
            store.export(&name, &archive).await.with_context(|| format!("exporting {name}"))
        }
        Action::Rm { names } => {
            for name in names {
                store.remove(&name).await.with_context(|| format!("removing {name}"))?;
                answer(format!("removed {name}"));
            }
            Ok(())
        }
        Action::Pull { name } => {
            let image = store
                .pull_with_progress(&name, &[], Some(progress("pulling")))
                .await
                .with_context(|| format!("pulling {name}"))?;
            answer(format!("pulled {}", first_name(&image)));
            Ok(())
        }
        Action::Build(build) => {
            let image = store
                .build(&build.root, build.config(), &build.name)
                .await
                .with_context(|| format!("building {}", build.name))?;
            answer(format!("built {}", first_name(&image)));
            Ok(())
        }
    }
}

/// Builds in a store of its own, so that nothing but the archive remains.
async fn build_archive(build: &Build, output: &std::path::Path) -> Result<()> {
    let scratch = output.with_extension("building");
    let built = async {
        // No container stands on what is gone in a moment.
        let store = ImageStore::open(&scratch, Hosts::default(), Arc::new(|| Ok(Vec::new()))).await;
        let store = store.context("opening the image store")?;
        store
            .build(&build.root, build.config(), &build.name)
            .await
            .with_context(|| format!("building {}", build.name))?;
        store.export(&build.name, output).await.with_context(|| format!("writing {}", output.display()))
    };
    let outcome = built.await;
    std::fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
    outcome?;
    answer(format!("built {} into {}", build.name, output.display()));
    Ok(())
}

impl Build {
    fn config(&self) -> ImageConfig {
        ImageConfig {
            user: self.user.clone(),
            env: self.env.clone(),
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            working_dir: self.working_dir.clone(),
            stop_signal: self.stop_signal.clone(),
            exposed_ports: self.expose.iter().map(|port| (port.clone(), serde_json::json!({}))).collect(),
            ..ImageConfig::default()
        }
    }
}

async fn list(store: &Arc<ImageStore>) -> Result<()> {
    let images = store.list().await.context("listing images")?;
    let row = |image: &Image| {
        let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
        let short = id.get(..13).unwrap_or(id).to_owned();
        (first_name(image), short, format!("{:.1} MB", image.size_bytes as f64 / 1e6))
    };
    let rows: Vec<_> = images.iter().map(row).collect();
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max(5);
    answer(format!("{:<width$}   {:<13}   SIZE", "IMAGE", "ID"));
    rows.iter().for_each(|(name, id, size)| answer(format!("{name:<width$}   {id}   {size}")));
    Ok(())
}

fn first_name(image: &Image) -> String {
    image.repo_tags.first().or_else(|| image.repo_digests.first()).unwrap_or(&image.id).clone()
}

/// Below this an import is over before anybody wonders.
const WORTH_SAYING_BYTES: u64 = 64 << 20;

/// Says how far it is, at every tenth.
fn progress(what: &'static str) -> Progress {
    let last = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |done, all| {
        let tenth = done.saturating_mul(10).checked_div(all).unwrap_or_default();
        if last.swap(tenth, std::sync::atomic::Ordering::Relaxed) != tenth && all > WORTH_SAYING_BYTES {
            say(format!("{what}: {}% of {:.1} MB", tenth * 10, all as f64 / 1e6));
        }
    })
}
