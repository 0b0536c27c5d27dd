//! Upstream's own programs, which judge ours: built from the modules that `conformance/go.mod` pins, once for
//! each version, into a cache outside the checkout.

pub mod etcd;
pub mod node;
pub mod plane;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::terminal::note;

/// One program.
struct Tool {
    name: &'static str,
    package: &'static str,
    /// Where its go.mod is, below `conformance/`.
    module: &'static str,
    /// The module whose version it has.
    pin: &'static str,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Program,
    /// The package's tests are the program.
    Tests,
}

const fn program(name: &'static str, package: &'static str) -> Tool {
    Tool { name, package, module: "", pin: KUBERNETES, kind: Kind::Program }
}

/// One of those that upstream's kubelet runs containers with.
const fn containers(name: &'static str, package: &'static str) -> Tool {
    Tool { module: "containerd", ..program(name, package) }
}

const TOOLS: &[Tool] = &[
    program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    program("etcd", "go.etcd.io/etcd/server/v3"),
    program("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Tool { kind: Kind::Tests, ..program("e2e.test", "k8s.io/kubernetes/test/e2e") },
    program("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo"),
    program("pause", "orlop/conformance/pause"),
    program("agnhost", "k8s.io/kubernetes/test/images/agnhost"),
    program("nnp", "k8s.io/kubernetes/test/images/nonewprivs"),
    // The suite asks for the sample of v1.29, whose libraries are too old to share a go.mod.
    Tool { module: "sample-apiserver", ..program("sample-apiserver", "k8s.io/sample-apiserver") },
    program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    program("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    containers("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    containers("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    containers("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    containers("bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
    containers("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
    containers("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
    Tool { module: "helm3", pin: "helm.sh/helm/v3", ..program("helm3", "helm.sh/helm/v3/cmd/helm") },
    Tool { module: "helm4", pin: "helm.sh/helm/v4", ..program("helm4", "helm.sh/helm/v4/cmd/helm") },
];

/// The module whose version the cache has, and all in it that names no other.
const KUBERNETES: &str = "k8s.io/kubernetes";

/// Where a program is; builds it if no run before has.
pub fn tool(name: &str) -> Result<PathBuf> {
    let tool = find(name)?;
    let file = if tool.pin == KUBERNETES { name.to_owned() } else { format!("{name}-{}", tool.version()?) };
    let path = cache()?.join("bin").join(file);
    if !path.exists() {
        note(&format!("building {name}: this takes minutes, once"))?;
        tool.build(&path).with_context(|| format!("building {name}"))?;
    }
    Ok(path)
}

fn find(name: &str) -> Result<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name).with_context(|| format!("{name} is no tool of upstream's"))
}

/// The version of Kubernetes that `conformance/go.mod` pins, as `v1.37.2`.
pub fn version() -> Result<String> {
    version_in("", KUBERNETES)
}

/// The version that is pinned of a program.
pub fn version_of(name: &str) -> Result<String> {
    find(name)?.version()
}

fn version_in(module: &str, pin: &str) -> Result<String> {
    let path = directory().join(module).join("go.mod");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    pinned(&text, pin).map(str::to_owned).with_context(|| format!("{} pins no {pin}", path.display()))
}

/// What is built for this version, and what is assembled from it.
pub fn cache() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let cache = caches.context("neither XDG_CACHE_HOME nor HOME is set")?.join("orlop/conformance").join(version()?);
    std::fs::create_dir_all(cache.join("bin")).with_context(|| format!("making {}", cache.display()))?;
    Ok(cache)
}

/// Kubernetes' sources, as the Go command unpacked them.
pub fn sources() -> Result<PathBuf> {
    let listed = go("").args(["list", "-m", "-f", "{{.Dir}}", KUBERNETES]).output().context("running go")?;
    let dir = String::from_utf8(listed.stdout)?.trim().to_owned();
    if !listed.status.success() || dir.is_empty() {
        bail!("finding the sources of {KUBERNETES}: {}", String::from_utf8_lossy(&listed.stderr));
    }
    Ok(PathBuf::from(dir))
}

/// Where the judges' pins and lists are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance")
}

impl Tool {
    fn version(&self) -> Result<String> {
        if self.pin == KUBERNETES { version() } else { version_in(self.module, self.pin) }
    }

    /// Under another name until it is whole: a build that was interrupted must not pass for one.
    fn build(&self, path: &Path) -> Result<()> {
        let unfinished = path.with_file_name(format!(".{}.{}", self.name, std::process::id()));
        let mut build = go(self.module);
        match self.kind {
            Kind::Program => build.arg("build"),
            // What is upstream's was vetted upstream.
            Kind::Tests => build.args(["test", "-c", "-vet=off"]),
        };
        build.args(["-trimpath", "-ldflags", &link_flags(&version()?)]);
        build.arg("-o").arg(&unfinished).arg(self.package);
        let status = build.status().context("running go: it must be installed, as conformance/go.mod asks")?;
        if !status.success() {
            bail!("go build {}: {status}", self.package);
        }
        std::fs::rename(&unfinished, path).with_context(|| format!("putting {} into place", path.display()))
    }
}

/// The Go command in one of our modules; static programs run in any image.
fn go(module: &str) -> Command {
    let mut go = Command::new(std::env::var_os("GO").unwrap_or_else(|| OsString::from("go")));
    go.current_dir(directory().join(module)).env("CGO_ENABLED", "0").env("GOWORK", "off");
    go
}

/// What upstream's own build stamps: clients and the suite compare versions.
fn link_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        let stamps = [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")];
        for (variable, value) in stamps {
            let _ = write!(flags, " -X {package}.{variable}={value}");
        }
    }
    flags
}

/// The version that a go.mod requires of a module.
fn pinned<'a>(text: &'a str, module: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_the_one_we_claim() {
        assert!(version().unwrap().starts_with("v1.37."));
    }

    #[test]
    fn pins_are_read_from_lines_and_blocks() {
        let text =
            "require a.io/x v1.2.3\nrequire (\n\tb.io/y v0.1.0 // indirect\n)\nreplace b.io/y => c.io/y v9.9.9\n";
        assert_eq!(pinned(text, "a.io/x"), Some("v1.2.3"));
        assert_eq!(pinned(text, "b.io/y"), Some("v0.1.0"));
        assert_eq!(pinned(text, "c.io/y"), None);
    }

    #[test]
    fn versions_are_stamped_as_upstream_stamps_them() {
        let flags = link_flags("v1.37.2");
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.37.2"));
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMinor=37"));
    }

    #[test]
    fn every_tool_is_kept_by_its_module() {
        for tool in TOOLS.iter().filter(|tool| !tool.package.starts_with("orlop/")) {
            let tools = std::fs::read_to_string(directory().join(tool.module).join("tools.go")).unwrap();
            assert!(tools.contains(&format!("\"{}\"", tool.package)), "{} is not in tools.go", tool.package);
        }
    }
}
