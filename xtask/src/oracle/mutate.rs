//! Objects that break one rule each, made of a valid object and the field table of its kind.

use orlop_api::Value;
use orlop_api::schema::{ListKind, ObjectType, Type};
use serde_json::{Map, json};

/// Takes each mutation: how it was made, as `spec.replicas = -1`, and what came of it.
pub type Take<'a> = &'a mut dyn FnMut(String, &Value);

/// What of an object is spoiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All but metadata, whose rules are the same for every kind; of it only the name.
    Own,
    /// Metadata too.
    All,
    /// This field and what is below it.
    Field(&'static str),
}

#[derive(Clone)]
enum Step {
    Key(String),
    Item(usize),
}

enum Change {
    Set(Value),
    Remove,
}

/// Every mutation of the object. Fields that it lacks are set too, and those below them `absent` levels deep.
pub fn mutations(ty: &ObjectType, object: &Value, scope: Scope, absent: usize, take: Take) {
    let mut walk = Walk { root: object, path: Vec::new(), absent, take };
    let Value::Object(fields) = object else { return };
    for field in ty.fields.iter().filter(|f| !f.inline && !matches!(f.json.as_str(), "apiVersion" | "kind")) {
        let value = fields.get(&field.json);
        match (scope, field.json.as_str()) {
            (Scope::Field(only), name) if name != only => {}
            (Scope::Own, "metadata") => walk.name(),
            (Scope::Own, "status") => {}
            _ => walk.field(&field.json, &field.ty, value),
        }
    }
    if !matches!(scope, Scope::Field(_)) {
        walk.change(Step::Key("unknownField".into()), Change::Set("x".into()), "= \"x\"");
    }
}

struct Walk<'a> {
    root: &'a Value,
    path: Vec<Step>,
    absent: usize,
    take: Take<'a>,
}

impl Walk<'_> {
    fn name(&mut self) {
        self.path.push(Step::Key("metadata".into()));
        let name = || Step::Key("name".into());
        self.change(name(), Change::Remove, "removed");
        for text in ["Upper", "a_b", "a.b", "-a", "a/b", "system:a", "..", "1a", &"a".repeat(64), &"a".repeat(254)] {
            self.set(name(), text.into());
        }
        self.path.pop();
    }

    fn field(&mut self, name: &str, ty: &Type, value: Option<&Value>) {
        let step = || Step::Key(name.to_owned());
        match value {
            Some(value) => {
                self.change(step(), Change::Remove, "removed");
                self.set(step(), Value::Null);
                self.path.push(step());
                self.below(ty, value);
                self.path.pop();
            }
            None if self.absent == 0 => {}
            None => {
                for value in some(ty, self.absent) {
                    self.set(step(), value);
                }
            }
        }
    }

    /// What the value at the path may be replaced with, and what is inside it.
    fn below(&mut self, ty: &Type, value: &Value) {
        for other in instead(ty, value) {
            self.replace(other);
        }
        match (ty, value) {
            (Type::Object(object), Value::Object(fields)) => {
                for field in object.get().fields.iter().filter(|f| !f.inline) {
                    self.field(&field.json, &field.ty, fields.get(&field.json));
                }
                self.change(Step::Key("unknownField".into()), Change::Set("x".into()), "= \"x\"");
            }
            (Type::List(list), Value::Array(items)) => {
                self.items(&list.item, items);
                if let ListKind::Map(keys) = &list.kind {
                    self.same_key(keys, items);
                }
            }
            (Type::Map(map), Value::Object(entries)) => self.entries(&map.value, entries),
            _ => {}
        }
    }

    fn items(&mut self, ty: &Type, items: &[Value]) {
        if let Some(first) = items.first() {
            let twice: Vec<Value> = items.iter().chain([first]).cloned().collect();
            self.replace_named(Value::Array(twice), "with its first item twice");
            let more: Vec<Value> = items.iter().chain([&Value::Null]).cloned().collect();
            self.replace_named(Value::Array(more), "with null as its last item");
        }
        for (at, item) in items.iter().enumerate() {
            self.path.push(Step::Item(at));
            self.below(ty, item);
            self.path.pop();
        }
    }

    /// Two items that differ in all but their key.
    fn same_key(&mut self, keys: &[String], items: &[Value]) {
        let Some(Value::Object(first)) = items.first() else { return };
        let key: Map<String, Value> =
            first.iter().filter(|(k, _)| keys.contains(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let twice: Vec<Value> = items.iter().cloned().chain([Value::Object(key)]).collect();
        self.replace_named(Value::Array(twice), "with its first key twice");
    }

    fn entries(&mut self, ty: &Type, entries: &Map<String, Value>) {
        let value = entries.values().next().cloned().or_else(|| some(ty, 0).into_iter().next()).unwrap_or_default();
        for key in ["", "Bad Key!", "a/b/c", "-a", "example.com/ok", &"k".repeat(64), &"k".repeat(254)] {
            self.set(Step::Key(key.to_owned()), value.clone());
        }
        for (key, value) in entries {
            self.path.push(Step::Key(key.clone()));
            self.below(ty, value);
            self.path.pop();
        }
    }

    fn replace(&mut self, value: Value) {
        let name = format!("= {}", brief(&value));
        self.replace_named(value, &name);
    }

    fn replace_named(&mut self, value: Value, name: &str) {
        let Some(step) = self.path.pop() else { return };
        self.change(step.clone(), Change::Set(value), name);
        self.path.push(step);
    }

    fn set(&mut self, step: Step, value: Value) {
        let name = format!("= {}", brief(&value));
        self.change(step, Change::Set(value), &name);
    }

    fn change(&mut self, step: Step, change: Change, how: &str) {
        let mut object = self.root.clone();
        let mut at = &mut object;
        for step in &self.path {
            let next = match step {
                Step::Key(key) => at.get_mut(key),
                Step::Item(item) => at.get_mut(item),
            };
            let Some(next) = next else { return };
            at = next;
        }
        match (at, &step, change) {
            (Value::Object(fields), Step::Key(key), Change::Set(value)) => drop(fields.insert(key.clone(), value)),
            (Value::Object(fields), Step::Key(key), Change::Remove) => drop(fields.remove(key)),
            (Value::Array(items), Step::Item(item), Change::Set(value)) => items[*item] = value,
            _ => return,
        }
        let name = format!("{} {how}", self.describe(&step));
        (self.take)(name, &object);
    }

    fn describe(&self, last: &Step) -> String {
        let mut text = String::new();
        for step in self.path.iter().chain([last]) {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{}", brief_text(key))),
                Step::Item(at) => text.push_str(&format!("[{at}]")),
            }
        }
        text
    }
}

fn brief(value: &Value) -> String {
    brief_text(&value.to_string())
}

fn brief_text(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// Values that may break a rule in the place of a present one.
fn instead(ty: &Type, value: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = match ty {
        Type::Bool => vec![json!(!value.as_bool().unwrap_or_default()), json!("true")],
        Type::Int32 => numbers(&[json!(2147483648_i64), json!("1")]),
        Type::Int64 => numbers(&[json!(9007199254740993_i64), json!(i64::MAX), json!("1")]),
        Type::Double => vec![json!(-1), json!(0), json!(0.5), json!("x")],
        Type::String => {
            let texts = ["", "x", "Upper", "a b", "-a", "a.b/c", "../a", "日本", "*", "0.0.0.0"];
            let mut texts: Vec<Value> = texts.into_iter().map(Value::from).collect();
            texts.extend([json!("a".repeat(64)), json!("a".repeat(300)), json!(1)]);
            texts
        }
        Type::Bytes => vec![json!(""), json!("!!"), json!("eA=="), json!(1)],
        Type::Quantity => ["-1", "0", "x", "1.5", "1m", "1e30", "1Gi", ""]
            .into_iter()
            .map(Value::from)
            .chain([json!(1), json!(0.1), json!(true)])
            .collect(),
        Type::IntOrString => vec![
            json!(-1),
            json!(0),
            json!(70000),
            json!("0%"),
            json!("101%"),
            json!("50"),
            json!("x-y"),
            json!("UPPER"),
            json!(""),
            json!(true),
        ],
        Type::Time | Type::MicroTime => {
            vec![json!("x"), json!("2020-01-01T00:00:00Z"), json!("2020-01-01T00:00:00.123456Z"), json!(1)]
        }
        Type::Duration => vec![json!("x"), json!("-1s"), json!("0s"), json!("1h5m"), json!(1)],
        Type::List(_) => vec![json!([]), json!("x")],
        Type::Map(_) => vec![json!({}), json!([])],
        Type::Object(_) => vec![json!({}), json!("x"), json!([])],
        Type::SchemaOrBool(_) | Type::SchemaOrArray(_) | Type::SchemaOrStrings(_) => {
            vec![json!(true), json!({}), json!([]), json!("x")]
        }
        Type::RawExtension | Type::FieldsV1 | Type::Json => vec![json!("x"), json!({}), json!([])],
    };
    all.retain(|other| other != value);
    all
}

fn numbers(more: &[Value]) -> Vec<Value> {
    let mut all = vec![json!(-1), json!(0), json!(1), json!(2), json!(101), json!(70000), json!(1.5)];
    all.extend_from_slice(more);
    all
}

/// Values for a field that is absent: what the type takes, right or wrong.
fn some(ty: &Type, depth: usize) -> Vec<Value> {
    let first = |ty: &Type| some(ty, depth.saturating_sub(1)).into_iter().next().unwrap_or_default();
    match ty {
        Type::Bool => vec![json!(true), json!(false), json!("x")],
        Type::Int32 | Type::Int64 => vec![json!(1), json!(-1), json!(0), json!("x")],
        Type::Double => vec![json!(0.5)],
        Type::String => vec![json!("x"), json!(""), json!("-Bad value"), json!(1)],
        Type::Bytes => vec![json!("eA=="), json!("!!")],
        Type::Quantity => vec![json!("1"), json!("-1"), json!("x")],
        Type::IntOrString => vec![json!(1), json!("10%"), json!(-1)],
        Type::Time | Type::MicroTime => vec![json!("2020-01-01T00:00:00Z"), json!("x")],
        Type::Duration => vec![json!("1s"), json!("x")],
        Type::List(list) => vec![json!([first(&list.item)]), json!([]), json!("x")],
        Type::Map(map) => vec![json!({"k": first(&map.value)}), json!({"Bad Key!": first(&map.value)}), json!({})],
        Type::Object(object) if depth > 0 => {
            let mut all = vec![json!({})];
            for field in object.get().fields.iter().filter(|f| !f.inline) {
                all.push(json!({ (field.json.as_str()): first(&field.ty) }));
            }
            all.push(json!("x"));
            all
        }
        Type::Object(_) => vec![json!({})],
        Type::SchemaOrBool(_) | Type::SchemaOrArray(_) | Type::SchemaOrStrings(_) => vec![json!({}), json!(true)],
        Type::RawExtension | Type::FieldsV1 | Type::Json => vec![json!({}), json!("x")],
    }
}
