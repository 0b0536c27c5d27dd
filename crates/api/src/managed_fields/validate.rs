//! Whether an applied object fits its type, in upstream's words.

use std::collections::BTreeSet;

use serde_json::Value;

use super::element::PathElement;
use super::types::{TypeRef, item_element};
use crate::patch::{go_format, go_type};
use crate::schema::{ListKind, ListType, ObjectType, Type};

/// What does not fit, `.spec.x: field not declared in schema`; empty when all does.
pub fn validate(value: &Value, ty: TypeRef<'_>) -> Vec<String> {
    let mut errors = Errors { path: String::new(), texts: Vec::new() };
    errors.check(value, ty);
    errors.texts
}

/// As upstream prints them: one bare, several below each other.
pub fn print(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => many.iter().fold("errors:".to_owned(), |text, error| format!("{text}\n  {error}")),
    }
}

struct Errors {
    path: String,
    texts: Vec<String>,
}

impl Errors {
    fn add(&mut self, text: &str) {
        self.texts.push(if self.path.is_empty() { text.to_owned() } else { format!("{}: {text}", self.path) });
    }

    fn below(&mut self, step: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    fn check(&mut self, value: &Value, ty: TypeRef<'_>) {
        if value.is_null() {
            return;
        }
        match ty {
            TypeRef::Deduced => {}
            TypeRef::Object(object) | TypeRef::Granular(object) => self.check_object(value, object),
            TypeRef::Of(ty) => match ty {
                Type::Object(object) => self.check_object(value, object.get()),
                Type::Map(map) => match value.as_object() {
                    Some(members) => {
                        for (name, member) in members {
                            self.below(&format!(".{name}"), |e| e.check(member, TypeRef::Of(&map.value)));
                        }
                    }
                    None => self.add(&format!("expected map, got &{{{}}}", go_format(value))),
                },
                Type::List(list) => match value.as_array() {
                    Some(items) => self.check_items(items, list),
                    None => self.add(&format!("expected list, got &{{{}}}", go_format(value))),
                },
                scalar => self.check_scalar(value, scalar),
            },
        }
    }

    fn check_object(&mut self, value: &Value, object: &ObjectType) {
        let Some(members) = value.as_object() else {
            return self.add(&format!("expected map, got &{{{}}}", go_format(value)));
        };
        for (name, member) in members {
            match object.field(name) {
                Some(field) => self.below(&format!(".{name}"), |e| e.check(member, TypeRef::Of(&field.ty))),
                None if object.preserve_unknown || object.fields.is_empty() => {}
                None => return self.below(&format!(".{name}"), |e| e.add("field not declared in schema")),
            }
        }
    }

    fn check_items(&mut self, items: &[Value], list: &ListType) {
        let mut seen = BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            let element = match list.kind {
                ListKind::Atomic => PathElement::Index(i64::try_from(i).unwrap_or(i64::MAX)),
                _ => match item_element(list, item) {
                    Ok(element) => element,
                    Err(why) => return self.add(&format!("element {i}: {why}")),
                },
            };
            let step = element.to_string();
            if !seen.insert(element) {
                self.add(&format!("duplicate entries for key {step}"));
            }
            self.below(&step, |e| e.check(item, TypeRef::Of(&list.item)));
        }
    }

    fn check_scalar(&mut self, value: &Value, ty: &Type) {
        match ty {
            Type::Bool if !value.is_boolean() => self.add(&format!("expected boolean, got &{{{}}}", go_format(value))),
            Type::Int32 | Type::Int64 | Type::Double if !value.is_number() => {
                self.add(&format!("expected numeric (int or float), got {}", go_type(value)));
            }
            Type::String | Type::Bytes | Type::Duration if !value.is_string() => {
                self.add(&format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)));
            }
            Type::Quantity | Type::Time | Type::MicroTime if value.is_array() || value.is_object() => {
                self.add(&format!("expected any scalar, got &{{{}}}", go_format(value)));
            }
            _ => {}
        }
    }
}

/// Go's `%#v`, as far as a value printed here goes.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        Value::Null => "interface {}(nil)".to_owned(),
        scalar => scalar.to_string(),
    }
}
