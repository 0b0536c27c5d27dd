//! `componentstatuses`: never stored, always looked at (deprecated upstream since 1.19, still listed by
//! old tools).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Response;
use orlop_api::Value;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;
use serde_json::json;

use super::{Connector, Extension};
use crate::Server;
use crate::call::Call;
use crate::wire::respond::Content;

pub fn extension() -> Extension {
    Extension::new("componentstatuses").connect("", ComponentStatuses)
}

struct ComponentStatuses;

/// The components of one process share its fate.
const COMPONENTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];

impl Connector for ComponentStatuses {
    fn serve(&self, _: &Arc<Server>, call: Call, _: Body) -> BoxFuture<'static, Result<Response<Body>, StatusError>> {
        Box::pin(async move {
            let output = call.output_other()?;
            call.warnings.add("v1 ComponentStatus is deprecated in v1.19+");
            let value = match &*call.info.verb {
                "list" => json!({
                    "kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {},
                    "items": COMPONENTS.map(status),
                }),
                _ if COMPONENTS.contains(&&*call.info.name) => status(&call.info.name),
                _ => return Err(call.not_found()),
            };
            call.respond(output, 200, Content::Value(value))
        })
    }
}

fn status(name: &str) -> Value {
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": { "name": name },
        "conditions": [{ "type": "Healthy", "status": "True", "message": "ok" }],
    })
}
