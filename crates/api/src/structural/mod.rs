//! Structural schemas: what a CustomResourceDefinition says of its objects
//! (`k8s.io/apiextensions-apiserver/pkg/apiserver/schema`, KEP 1693).
//!
//! A [`Schema`] is read once from `openAPIV3Schema`. From it come the field table that apply and OpenAPI read
//! ([`table`]), [`prune`], [`defaulting`] and [`validate`].

pub mod defaulting;
pub(crate) mod formats;
mod lists;
pub mod prune;
pub mod table;
pub mod validate;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// One node of a schema. Nothing is refused here: whether it is structural, its definition's validation says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Schema {
    #[serde(rename = "type")]
    pub ty: String,
    pub nullable: bool,
    pub default: Option<Value>,
    pub properties: BTreeMap<String, Self>,
    pub additional_properties: Option<Additional>,
    pub items: Option<Box<Self>>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub preserve_unknown: bool,
    #[serde(rename = "x-kubernetes-embedded-resource")]
    pub embedded: bool,
    #[serde(rename = "x-kubernetes-int-or-string")]
    pub int_or_string: bool,
    #[serde(rename = "x-kubernetes-list-type")]
    pub list_type: String,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub list_map_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-map-type")]
    pub map_type: String,
    /// Rules in CEL, for whoever evaluates them.
    #[serde(rename = "x-kubernetes-validations")]
    pub rules: Vec<Value>,

    pub format: String,
    pub pattern: Option<Pattern>,
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub unique_items: bool,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub required: Vec<String>,
    #[serde(rename = "enum")]
    pub allowed: Vec<Value>,
    pub all_of: Vec<Self>,
    pub any_of: Vec<Self>,
    pub one_of: Vec<Self>,
    pub not: Option<Box<Self>>,
}

/// `additionalProperties`: whether others are allowed, or what they must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Additional {
    Any(bool),
    Schema(Box<Schema>),
}

/// A pattern, compiled when first needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Pattern {
    pub text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }
}

impl Pattern {
    /// What does not compile matches nothing.
    fn matches(&self, text: &str) -> bool {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Schema {
    /// Reads `openAPIV3Schema`; nothing at all allows everything.
    pub fn read(schema: &Value) -> Result<Self, serde_json::Error> {
        match schema {
            Value::Null => Ok(Self { preserve_unknown: true, ..Self::default() }),
            schema => Self::deserialize(schema),
        }
    }

    /// What stands under a name: its property, or what the schema says of all others.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional())
    }

    fn additional(&self) -> Option<&Self> {
        match &self.additional_properties {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        }
    }

    fn refuses_null(&self, value: &Value) -> bool {
        value.is_null() && !self.nullable
    }
}

/// Fields every object and embedded object has.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn is_meta(name: &str) -> bool {
    META.contains(&name)
}

#[cfg(test)]
mod tests;
