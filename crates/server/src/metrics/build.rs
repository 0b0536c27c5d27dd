//! Which build this is, as `/version` says it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::discovery::version;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    build_date: String,
    compiler: String,
    git_commit: String,
    git_tree_state: String,
    git_version: String,
    go_version: String,
    major: String,
    minor: String,
    platform: String,
}

pub fn register(r: &mut Registry) {
    let version = version();
    let text = |field: &str| version[field].as_str().unwrap_or_default().to_owned();
    let builds = Family::<Build, Gauge>::default();
    let build = Build {
        build_date: text("buildDate"),
        compiler: text("compiler"),
        git_commit: text("gitCommit"),
        git_tree_state: text("gitTreeState"),
        git_version: text("gitVersion"),
        go_version: text("goVersion"),
        major: text("major"),
        minor: text("minor"),
        platform: text("platform"),
    };
    builds.get_or_create(&build).set(1);
    r.register("kubernetes_build_info", "Which build this is", builds);
}
