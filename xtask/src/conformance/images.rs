//! The suite's images, assembled from Debian packages and upstream's programs by Orlop's own image code, as
//! archives under the names that the suite asks for. Contents as upstream's Dockerfiles have them, as far as the
//! conformance tests look.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use orlop_image::{Hosts, ImageConfig, ImageStore};
use serde_json::json;

use super::cache;
use super::root::Root;
use crate::terminal::note;
use crate::upstream;

/// Where the suite's images come from that anybody may pull.
const REGISTRY: &str = "registry.k8s.io/";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What agnhost's tests call inside it, and what they call in the image with the other resolver.
const AGNHOST: &[&str] =
    &["bash", "bind9-dnsutils", "curl", "iperf", "iproute2", "netcat-openbsd", "socat", "util-linux", "libc-bin"];
const NGINX: &[&str] = &["nginx", "nginx-common"];
const NGINX_CONFIG: &str = "events {}\nerror_log /dev/stderr;\npid /tmp/nginx.pid;\ndaemon off;\n\
    http {\n  include /etc/nginx/mime.types;\n  access_log /dev/stdout;\n  server {\n    listen 80;\n    \
    root /usr/share/nginx/html;\n  }\n}\n";

const AGGREGATOR: &str = "[sig-api-machinery] Aggregator ";

struct Recipe {
    /// Without registry, path and tag.
    name: &'static str,
    make: fn() -> Result<(Root, ImageConfig)>,
    /// What those tests are called that alone use it, where building it takes long.
    only_for: Option<&'static str>,
}

const fn recipe(name: &'static str, make: fn() -> Result<(Root, ImageConfig)>) -> Recipe {
    Recipe { name, make, only_for: None }
}

const RECIPES: &[Recipe] = &[
    recipe("agnhost", agnhost),
    recipe("busybox", busybox),
    Recipe { only_for: Some(AGGREGATOR), ..recipe("etcd", etcd) },
    recipe("glibc-dns-testing", glibc_dns_testing),
    recipe("kitten", kitten),
    recipe("nautilus", nautilus),
    recipe("nginx", nginx),
    recipe("nonewprivs", nonewprivs),
    recipe("pause", pause),
    Recipe { only_for: Some(AGGREGATOR), ..recipe("sample-apiserver", sample_apiserver) },
];

/// The archives for these tests; assembles those that no run before has.
pub async fn archives(tests: &[String]) -> Result<Vec<PathBuf>> {
    let dir = cache::directory(&upstream::cache()?, concat!(include_str!("images.rs"), include_str!("root.rs")))?;
    let mut archives = Vec::new();
    for reference in references()? {
        let Some(recipe) = RECIPES.iter().find(|recipe| name(&reference) == recipe.name) else { continue };
        if recipe.only_for.is_some_and(|prefix| !tests.iter().any(|test| test.starts_with(prefix))) {
            continue;
        }
        let archive = dir.join(format!("{}.tar", reference.replace(['/', ':'], "+")));
        if !archive.exists() {
            note(&format!("assembling {reference}"))?;
            assemble(recipe, &reference, &archive).await.with_context(|| format!("assembling {reference}"))?;
        }
        archives.push(archive);
    }
    Ok(archives)
}

/// Every image that the suite may ask for, with registry and tag.
fn references() -> Result<Vec<String>> {
    let listed = Command::new(upstream::tool("e2e.test")?).arg("--list-images").output().context("running e2e.test")?;
    if !listed.status.success() {
        bail!("e2e.test --list-images: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.lines().filter(|line| line.starts_with(REGISTRY)).map(str::to_owned).collect())
}

/// The last part of a reference's path.
fn name(reference: &str) -> &str {
    let path = reference.rsplit_once(':').map_or(reference, |(path, _)| path);
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

async fn assemble(recipe: &Recipe, reference: &str, archive: &Path) -> Result<()> {
    let (root, config) = (recipe.make)()?;
    let (tree, scratch) = root.into_parts();
    let store = ImageStore::open(&scratch.path().join("store"), Hosts::default(), Arc::new(|| Ok(Vec::new()))).await?;
    store.build_tree(tree, config, reference).await?;
    let unfinished = archive.with_extension(format!("unfinished-{}", std::process::id()));
    store.export(reference, &unfinished).await?;
    Ok(std::fs::rename(unfinished, archive)?)
}

fn config(words: &[&str]) -> ImageConfig {
    let cmd = words.iter().map(|word| (*word).to_owned()).collect();
    ImageConfig { env: vec![PATH.to_owned()], cmd, ..ImageConfig::default() }
}

/// Debian's busybox as a shell would prefer its own programs to the ones installed: bash is the shell.
fn debian() -> Result<Root> {
    let mut root = Root::of_packages(AGNHOST)?;
    root.link("usr/bin/sh", "bash");
    root.link("usr/bin/nc", "nc.openbsd");
    Ok(root)
}

fn agnhost() -> Result<(Root, ImageConfig)> {
    let mut root = debian()?;
    root.program("agnhost", "agnhost", 0o755)?;
    // Tests that replace the entry point call it by this name.
    root.link("agnhost-2", "agnhost");
    root.link("usr/local/bin/iperf", "/usr/bin/iperf");
    root.dir("uploads");
    for file in ["localhost.crt", "localhost.key"] {
        root.source(&format!("test/images/agnhost/porter/{file}"), file)?;
    }
    let exposed_ports = [80, 8080, 8081, 9376, 5000].map(|port| (format!("{port}/tcp"), json!({})));
    let entrypoint = vec!["/agnhost".to_owned()];
    Ok((root, ImageConfig { entrypoint, exposed_ports: exposed_ports.into(), ..config(&["pause"]) }))
}

/// Agnhost's web server with the picture of an animal.
fn pet(animal: &str) -> Result<(Root, ImageConfig)> {
    let mut root = Root::of_packages(&[])?;
    root.program("agnhost", "agnhost", 0o755)?;
    for file in ["data.json".to_owned(), format!("{animal}.jpg")] {
        root.source(&format!("test/images/{animal}/html/{file}"), &file)?;
    }
    // A test reads the system's name through an image volume.
    root.text("etc/os-release", "NAME=\"Alpine Linux stand-in\"\nID=orlop-test\n");
    Ok((root, ImageConfig { entrypoint: vec!["/agnhost".to_owned()], ..config(&["test-webserver"]) }))
}

fn kitten() -> Result<(Root, ImageConfig)> {
    pet("kitten")
}

fn nautilus() -> Result<(Root, ImageConfig)> {
    pet("nautilus")
}

fn busybox() -> Result<(Root, ImageConfig)> {
    let mut root = Root::of_packages(&["bash-static"])?;
    // Tests that call it `/bin/sh` look for the words of busybox. Those that let it be found look for variables with
    // dashes in their names, which Debian's busybox does not pass on.
    root.link("usr/local/bin/sh", "/usr/bin/bash-static");
    Ok((root, config(&["sh"])))
}

fn glibc_dns_testing() -> Result<(Root, ImageConfig)> {
    Ok((debian()?, config(&["bash"])))
}

fn nginx() -> Result<(Root, ImageConfig)> {
    let mut root = Root::of_packages(NGINX)?;
    root.text("etc/nginx/nginx.conf", NGINX_CONFIG);
    root.text("usr/share/nginx/html/index.html", "<h1>Welcome to nginx!</h1>\n");
    root.dir("var/lib/nginx");
    root.dir("var/log/nginx");
    let exposed_ports = [("80/tcp".to_owned(), json!({}))].into();
    let config = config(&["nginx", "-e", "/dev/stderr"]);
    Ok((root, ImageConfig { stop_signal: "SIGQUIT".to_owned(), exposed_ports, ..config }))
}

fn etcd() -> Result<(Root, ImageConfig)> {
    let mut root = Root::bare()?;
    root.program("etcd", "usr/local/bin/etcd", 0o755)?;
    Ok((root, config(&["/usr/local/bin/etcd"])))
}

fn nonewprivs() -> Result<(Root, ImageConfig)> {
    let mut root = Root::bare()?;
    root.program("nnp", "usr/local/bin/nnp", 0o6755)?;
    Ok((root, config(&["nnp"])))
}

fn pause() -> Result<(Root, ImageConfig)> {
    let mut root = Root::bare()?;
    root.program("pause", "pause", 0o755)?;
    let config = config(&[]);
    Ok((root, ImageConfig { user: "65535:65535".to_owned(), entrypoint: vec!["/pause".to_owned()], ..config }))
}

fn sample_apiserver() -> Result<(Root, ImageConfig)> {
    let mut root = Root::bare()?;
    root.program("sample-apiserver", "sample-apiserver", 0o755)?;
    let config = config(&[]);
    Ok((root, ImageConfig { entrypoint: vec!["/sample-apiserver".to_owned()], ..config }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_matched_by_their_last_part() {
        assert_eq!(name("registry.k8s.io/e2e-test-images/agnhost:2.66.1"), "agnhost");
        assert_eq!(name("registry.k8s.io/pause:3.10.2"), "pause");
        assert_eq!(name("registry.k8s.io/e2e-test-images/node-perf/npb-ep:1.6.0"), "npb-ep");
    }
}
