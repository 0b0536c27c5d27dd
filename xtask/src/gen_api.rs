//! `cargo xtask gen-api`: the field tables under `crates/api/data`.
//!
//! Three published sources must agree, or generation fails:
//! Go's types (structure, `omitempty`, pointers, protobuf tags), the generated `.proto` files (field numbers,
//! boxed lists) and the OpenAPI documents (names, required, list and patch semantics, defaults, kinds).
//! Only facts are carried over, no prose.

mod go;
mod openapi;
mod proto;
mod table;

use std::path::PathBuf;

use anyhow::Context as _;

#[derive(clap::Args)]
pub struct Args {
    /// The `k8s.io/kubernetes` module.
    #[arg(long)]
    kubernetes: PathBuf,
    /// The `k8s.io/api` module.
    #[arg(long)]
    api: PathBuf,
    /// The `k8s.io/apimachinery` module.
    #[arg(long)]
    apimachinery: PathBuf,
    /// The `k8s.io/apiextensions-apiserver` module.
    #[arg(long)]
    apiextensions: PathBuf,
    /// The `k8s.io/kube-aggregator` module.
    #[arg(long)]
    aggregator: PathBuf,
    /// Where the table goes.
    #[arg(long, default_value = "crates/api/data/types.txt")]
    out: PathBuf,
}

impl Args {
    /// Package import path -> folder, for every package whose types may appear on the wire. Alpha and beta
    /// packages are read too, because stable types refer to some of theirs.
    fn packages(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut packages = Vec::new();
        for entry in std::fs::read_dir(&self.api).with_context(|| format!("list {}", self.api.display()))? {
            let group = entry?.path();
            let Some(name) = group.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
            if !group.is_dir() {
                continue;
            }
            for version in std::fs::read_dir(&group)? {
                let path = version?.path();
                let version = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
                if path.join("register.go").exists() {
                    packages.push((format!("k8s.io/api/{name}/{version}"), path));
                }
            }
        }
        let mut add = |module: &str, root: &PathBuf, folder: &str| {
            packages.push((format!("k8s.io/{module}/{folder}"), root.join(folder)));
        };
        for folder in
            ["pkg/apis/meta/v1", "pkg/api/resource", "pkg/runtime", "pkg/types", "pkg/util/intstr", "pkg/version"]
        {
            add("apimachinery", &self.apimachinery, folder);
        }
        add("apiextensions-apiserver", &self.apiextensions, "pkg/apis/apiextensions/v1");
        add("kube-aggregator", &self.aggregator, "pkg/apis/apiregistration/v1");
        packages.sort();
        Ok(packages)
    }
}

/// Served by default, or still asked for by clients.
fn is_served(package: &str) -> bool {
    is_stable(package.rsplit('/').next().unwrap_or_default()) || package == "k8s.io/api/apidiscovery/v2beta1"
}

/// `v1`, `v2`: neither alpha nor beta.
fn is_stable(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let packages = args.packages()?;
    let go = go::Source::read(&packages)?;
    let proto = proto::read(&packages)?;
    let openapi = openapi::Documents::read(&args.kubernetes)?;
    let text = table::build(&go, &proto, &openapi)?;
    std::fs::write(&args.out, text).with_context(|| format!("write {}", args.out.display()))
}
