//! The Kubernetes object model: what an object is, before anyone stores, serves or acts on it.
//!
//! An object is a [`Value`] (JSON). What is known about its shape stands in a **schema**
//! ([`schema::ObjectType`], the field table), the same for built-in types and custom resources.
//! What is known about its behaviour stands in a **kind** ([`kind::Kind`]): names, columns, hooks.
//! Codecs, patches, pruning, OpenAPI and `explain` read only the schema, never the kind's name.
//!
//! Nothing here performs I/O, nor reads a clock but to stamp the few fields upstream stamps here.

pub mod custom;
pub mod defaults;
pub mod kind;
pub mod kinds;
pub mod schema;
pub mod structural;
mod validation;

pub mod codec;
pub mod managed_fields;
pub mod openapi;
pub mod patch;
pub mod pem;

pub mod cidr;
pub mod cron;
pub mod equality;
pub mod field;
pub mod intstr;
pub mod jsonpath;
pub mod meta;
pub mod node_selector;
pub mod object_meta;
pub mod pod_resources;
pub mod pods;
pub mod quota;
pub mod quote;
pub mod resource_list;
pub mod selector;
pub mod status;
pub mod table;
pub mod time;
pub mod typed;
pub mod volumes;

pub use orlop_base::{duration, names, quantity};
pub use serde_json::{Map, Value};
