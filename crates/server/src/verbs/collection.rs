//! DELETE of a collection: list, then delete each.

use std::sync::Arc;

use http::Response;
use orlop_api::status::StatusError;
use orlop_client::transport::Body;

use super::{delete, list};
use crate::Server;
use crate::call::Call;
use crate::filter::Filter;
use crate::options::ListOptions;

pub(crate) async fn delete_collection(
    server: &Arc<Server>,
    call: &Call,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    let output = call.output(false)?;
    let list_options = ListOptions::parse(&call.info, false)?;
    let filter = Filter::parse(&call.info, &call.resource)?;
    let options = delete::read_options(call, body).await?;
    options.refuse_unsafe()?;
    let page = list::collect(server, call, &list_options, &filter).await?;
    for entry in &page.entries {
        let target = delete::Target {
            resource: &call.resource,
            namespace: &entry.key.namespace,
            name: &entry.key.name,
            admission: Some(call),
        };
        match delete::delete_one(server, target, &options).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    list::write(call, output, &page)
}
