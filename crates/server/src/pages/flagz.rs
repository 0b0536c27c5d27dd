//! `/flagz`: what this process was told on its command line, defaults among it
//! (`k8s.io/apiserver/pkg/server/flagz`).

use std::fmt::Write as _;

use serde_json::json;

use super::Page;
use crate::Server;

pub fn page(server: &Server) -> Page {
    let mut text = String::new();
    for (flag, value) in &server.flags {
        let _ = writeln!(text, "{flag}: {value}");
    }
    Page { kind: "Flagz", fields: json!({"flags": server.flags}), text }
}
