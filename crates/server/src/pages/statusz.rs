//! `/statusz`: which process this is, since when, and where it tells more
//! (`k8s.io/apiserver/pkg/server/statusz`).

use std::collections::BTreeSet;

use orlop_base::clock;
use serde_json::json;

use super::Page;
use crate::Server;
use crate::discovery;
use crate::server::started;

/// The API itself is no page about the process.
const API: [&str; 5] = ["apis", "api", "openid", "openapi", ".well-known"];

pub fn page(server: &Server) -> Page {
    let started = started();
    let up = (clock::unix_seconds() - started).max(0);
    let start_time = clock::format_seconds(started);
    let version = discovery::version();
    let named = |major: &str, minor: &str| {
        let text = |field: &str| version[field].as_str().unwrap_or_default().to_owned();
        format!("{}.{}", text(major), text(minor))
    };
    let (binary, emulation) = (named("major", "minor"), named("emulationMajor", "emulationMinor"));
    let paths = folders(&discovery::paths(&server.resources(), &server.aggregation.remotes()));
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    let text = format!(
        "\nStarted: {start_time}\nUp: {hours} hr {minutes:02} min {seconds:02} sec\nBinary version: {binary}\n\
         Emulation version: {emulation}\nPaths: {}\n",
        paths.join(" ")
    );
    let fields = json!({
        "startTime": start_time, "uptimeSeconds": up, "goVersion": version["goVersion"], "binaryVersion": binary,
        "emulationVersion": emulation, "paths": paths,
    });
    Page { kind: "Statusz", fields, text }
}

fn folders(paths: &[String]) -> Vec<String> {
    let first = |path: &String| path.split('/').nth(1).unwrap_or_default().to_owned();
    let folders: BTreeSet<String> = paths.iter().map(first).collect();
    let said = folders.into_iter().filter(|folder| !folder.is_empty() && !API.contains(&folder.as_str()));
    said.map(|folder| format!("/{folder}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_once_and_without_the_api() {
        let paths = ["/", "/api", "/api/v1", "/livez", "/livez/ping", "/healthz/etcd", "/openid/v1/jwks"];
        assert_eq!(folders(&paths.map(str::to_owned)), ["/healthz", "/livez"]);
    }
}
