//! The places of a schema where rules stand, and the ways to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use orlop_api::Value as Json;
use orlop_cel::decl::DeclType;

use super::compile::Rule;

/// A place with rules, or above such places.
pub struct Node {
    /// The schema's `type`, for errors.
    pub ty: String,
    pub decl: Arc<DeclType>,
    pub rules: Vec<Rule>,
    /// Keys by which an item is known again after an update; none for other lists.
    pub item_keys: Vec<String>,
    pub properties: BTreeMap<String, Node>,
    /// Of all entries of a map.
    pub entries: Option<Box<Node>>,
    pub items: Option<Box<Node>>,
}

impl Node {
    pub fn root(schema: &Json) -> Option<Self> {
        if !has_rules(schema) {
            return None;
        }
        Self::read(schema, &DeclType::from_schema(schema, true, "selfType"))
    }

    fn read(schema: &Json, decl: &DeclType) -> Option<Self> {
        // Expressions cannot see what has no type.
        decl.cel.as_ref()?;
        let decl = Arc::new(decl.clone());
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        let rules: Vec<Rule> = rules.map(|rule| Rule::compile(rule, schema, &decl)).collect();
        let below = |schema: &Json| decl.element().and_then(|decl| Self::read(schema, decl)).map(Box::new);
        let properties = schema["properties"].as_object().into_iter().flatten().filter_map(|(name, schema)| {
            let declared = decl.property(name)?;
            Some((name.clone(), Self::read(schema, declared)?))
        });
        let properties: BTreeMap<String, Self> = properties.collect();
        let entries = below(&schema["additionalProperties"]);
        let items = below(&schema["items"]);
        if rules.is_empty() && properties.is_empty() && entries.is_none() && items.is_none() {
            return None;
        }
        let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let keyed = schema["x-kubernetes-list-type"] == "map";
        let item_keys = keys.filter(|_| keyed).map(str::to_owned).collect();
        let ty = schema["type"].as_str().unwrap_or_default().to_owned();
        Some(Self { ty, decl, rules, item_keys, properties, entries, items })
    }
}

fn has_rules(schema: &Json) -> bool {
    match schema {
        Json::Object(fields) => {
            fields.get("x-kubernetes-validations").is_some_and(|rules| rules.as_array().is_some_and(|r| !r.is_empty()))
                || fields.values().any(has_rules)
        }
        Json::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
