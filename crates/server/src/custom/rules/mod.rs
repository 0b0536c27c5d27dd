//! Rules in CEL of custom resources, `x-kubernetes-validations`
//! (KEP 2876; `apiextensions-apiserver/pkg/apiserver/schema/cel`).
//!
//! [`compile`] makes one rule ready to run and says what it may cost; [`definition`] checks the rules that a
//! definition brings; a [`tree`] of them stands beside a served version's schema, and [`check`] walks an object along
//! it.

mod check;
mod compile;
pub mod definition;
mod field_path;
mod tree;

use std::sync::Arc;

use orlop_api::Value;
use orlop_api::custom::Rules;

/// The rules of a version's schema, if it has any.
pub fn of_schema(schema: &Value) -> Option<Arc<dyn Rules>> {
    Some(Arc::new(tree::Node::root(schema)?))
}
