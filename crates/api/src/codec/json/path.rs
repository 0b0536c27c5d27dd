//! Where in a document the decoder is, in the two ways that errors say it.

use std::borrow::Cow;

use crate::schema::{Field, ObjectType, Type};

/// The steps from the root.
#[derive(Default)]
pub struct Path<'a, 's>(Vec<Step<'a, 's>>);

/// One step down from the root.
pub enum Step<'a, 's> {
    Field(&'s ObjectType, &'s Field),
    Key(Cow<'a, str>),
    Index(usize),
}

impl<'a, 's> Path<'a, 's> {
    pub fn push(&mut self, step: Step<'a, 's>) {
        self.0.push(step);
    }

    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// `spec.containers[0].name`: how strict errors name a field below here.
    pub fn child(&self, name: &str) -> String {
        let mut path = String::new();
        for step in &self.0 {
            match step {
                Step::Field(_, field) => push_name(&mut path, &field.json),
                Step::Key(key) => push_name(&mut path, key),
                Step::Index(i) => path.extend(["[", &i.to_string(), "]"]),
            }
        }
        push_name(&mut path, name);
        path
    }

    /// `v1.Pod.spec`: the first struct with its field.
    pub fn outermost(&self) -> Option<String> {
        self.0.iter().find_map(|step| match step {
            Step::Field(owner, field) => Some(format!("{}.{}", owner.go_name(), field.json)),
            _ => None,
        })
    }

    /// `PodSpec.spec.containers`: the innermost struct, then the fields from the root, embedded structs among them.
    pub fn go(&self) -> Option<String> {
        let mut innermost = None;
        let mut names: Vec<&str> = Vec::new();
        for step in &self.0 {
            if let Step::Field(owner, field) = step {
                // The outermost object's was read before.
                let is_nested = innermost.is_some();
                innermost = Some(owner.short_name());
                embedding(owner, field, &mut names);
                if is_nested && is_type_meta(owner, field) {
                    names.push("TypeMeta");
                }
                names.push(&field.json);
            }
        }
        Some(format!("{}.{}", innermost?, names.join(".")))
    }
}

/// Whether a field stands in the `TypeMeta` that objects with metadata embed.
fn is_type_meta(owner: &ObjectType, field: &Field) -> bool {
    matches!(&*field.json, "apiVersion" | "kind") && owner.field("metadata").is_some()
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Names of the embedded structs between an owner and one of its flattened fields.
fn embedding<'s>(owner: &'s ObjectType, field: &Field, names: &mut Vec<&'s str>) {
    if field.inlined_from == 0 {
        return;
    }
    let message = owner.fields.iter().find(|f| f.inline && f.tag == field.inlined_from);
    if let Some(Type::Object(nested)) = message.map(|f| &f.ty) {
        names.push(nested.get().short_name());
        if let Some(inner) = nested.get().field(&field.json) {
            embedding(nested.get(), inner, names);
        }
    }
}
