//! Admission of connections: exec, attach, port-forward, proxies. What is admitted is the options they are asked with.

use orlop_api::schema::{ListType, Type};
use orlop_api::status::StatusError;
use orlop_api::{Value, schema};
use serde_json::json;

use super::{Attributes, Operation};
use crate::Server;
use crate::call::Call;

impl Server {
    /// Runs admission for a connection that is about to be made.
    pub(crate) async fn admit_connection(&self, call: &Call) -> Result<(), StatusError> {
        let (api_version, kind) = call.body_kind();
        let mut attributes: Attributes = call.attributes(Operation::Connect, options(call, &api_version, &kind), false);
        attributes.connect_kind = Some((api_version, kind));
        self.admit(&mut attributes).await?;
        self.validate(&attributes).await
    }
}

/// The query as the subresource's options object.
fn options(call: &Call, api_version: &str, kind: &str) -> Value {
    let mut options = json!({ "kind": kind, "apiVersion": api_version });
    let Some(ty) = schema::builtin().of(api_version, kind) else { return options };
    for field in &ty.get().fields {
        let mut values = call.info.query.iter().filter(|(key, _)| *key == field.json).map(|(_, value)| value.as_str());
        let value = match &field.ty {
            Type::Bool => values.next().map(|_| call.info.query_flag(&field.json).into()),
            Type::Int32 | Type::Int64 => values.next().and_then(|text| Some(text.parse::<i64>().ok()?.into())),
            Type::List(list) => many(list, values),
            _ => values.next().map(Value::from),
        };
        if let Some(value) = value {
            options[&field.json] = value;
        }
    }
    // A proxy's path stands in the URL.
    if kind.ends_with("ProxyOptions") && !call.info.tail.is_empty() {
        options["path"] = call.info.tail.as_str().into();
    }
    options
}

fn many<'a>(list: &ListType, values: impl Iterator<Item = &'a str>) -> Option<Value> {
    let number = matches!(list.item, Type::Int32 | Type::Int64);
    let all: Vec<Value> = values
        .filter_map(|text| if number { Some(text.parse::<i64>().ok()?.into()) } else { Some(text.into()) })
        .collect();
    (!all.is_empty()).then_some(Value::Array(all))
}
