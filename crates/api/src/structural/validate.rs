//! A value against its schema, in the words of `k8s.io/kube-openapi/pkg/validation/validate`.
//!
//! Updates are ratcheted (KEP 4008): what an update leaves as it was is not held against it.

use serde_json::{Map, Value};

use super::{Additional, Schema, formats, lists};
use crate::field::{ErrorList, ErrorType, Path};

/// A whole object, or the `status` of one under its path, against its schema; `old` is what an update starts from.
pub fn value(value: &Value, old: Option<&Value>, schema: &Schema, path: &str) -> ErrorList {
    let mut check = Check { errors: ErrorList::default(), of_default: false };
    check.node(value, old, schema, path);
    check.errors
}

/// A default of the schema itself. Upstream asks less of it: what may be a number or a text may be anything, and more:
/// formats that nothing checks are not taken out before.
pub fn default(value: &Value, schema: &Schema) -> ErrorList {
    let mut check = Check { errors: ErrorList::default(), of_default: true };
    check.node(value, None, schema, "");
    check.errors
}

/// What the schema says of lists that are sets or maps, and of objects within objects.
pub fn invariants(value: &Value, old: Option<&Value>, schema: &Schema) -> ErrorList {
    let mut errors = lists::embedded(value, schema);
    if old.is_none_or(|old| lists::unique(old, schema).is_empty()) {
        errors.extend(lists::unique(value, schema));
    }
    errors
}

struct Check {
    errors: ErrorList,
    of_default: bool,
}

impl Check {
    fn node(&mut self, value: &Value, old: Option<&Value>, schema: &Schema, path: &str) {
        if old == Some(value) {
            return;
        }
        if value.is_null() {
            let typed = !schema.ty.is_empty() || schema.int_or_string && !self.of_default;
            if typed && !schema.nullable {
                self.wrong_type(path, schema, "null");
            }
            self.one_of_allowed(value, schema, path);
            return;
        }
        self.of_type(value, schema, path);
        self.combined(value, schema, path);
        match value {
            Value::String(text) => self.text(text, schema, path),
            Value::Number(number) => self.number(number, schema, path),
            Value::Array(items) => self.items(items, old, schema, path),
            _ => {}
        }
        self.one_of_allowed(value, schema, path);
        if let Value::Object(fields) = value {
            self.fields(fields, old, schema, path);
        }
    }

    fn invalid(&mut self, path: &str, value: impl Into<Value>, what: &str) {
        let detail = format!("{path} in body {what}");
        self.errors.invalid(&at(path), value, detail);
    }

    fn wrong_type(&mut self, path: &str, schema: &Schema, found: &str) {
        let wanted = if schema.int_or_string { "integer,string" } else { &schema.ty };
        let detail = format!("{path} in body must be of type {wanted}: \"{found}\"");
        self.errors.type_invalid(&at(path), found, detail);
    }

    fn of_type(&mut self, value: &Value, schema: &Schema, path: &str) {
        let found = type_of(value);
        let fits = |wanted: &str| match (wanted, value) {
            (wanted, _) if wanted == found => true,
            ("number", Value::Number(_)) => true,
            // A float without a fraction passes for an integer.
            ("integer", Value::Number(number)) => number.as_f64().is_some_and(|n| n.fract() == 0.0),
            _ => false,
        };
        let fine = match schema.ty.as_str() {
            _ if schema.int_or_string && !self.of_default => fits("integer") || fits("string"),
            "" => return self.format_without_type(value, schema, path),
            wanted => fits(wanted),
        };
        if !fine {
            self.wrong_type(path, schema, found);
        }
    }

    /// A format alone asks for a text.
    fn format_without_type(&mut self, value: &Value, schema: &Schema, path: &str) {
        let found = match value {
            _ if schema.format.is_empty() || !self.of_default && !formats::is_known(&schema.format) => return,
            Value::String(_) | Value::Array(_) => return,
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            _ => "",
        };
        let (wanted, found) = if found == schema.format { ("", type_of(value)) } else { (&*schema.format, found) };
        let detail = format!("{path} in body must be of type {wanted}: \"{found}\"");
        self.errors.type_invalid(&at(path), found, detail);
    }

    fn combined(&mut self, value: &Value, schema: &Schema, path: &str) {
        let of_default = self.of_default;
        let errors_of = |schema: &Schema| {
            let mut inner = Self { errors: ErrorList::default(), of_default };
            inner.node(value, None, schema, path);
            inner.errors
        };
        let fewest = |all: Vec<ErrorList>| all.into_iter().min_by_key(|errors| errors.0.len()).unwrap_or_default();
        if !schema.any_of.is_empty() {
            let all: Vec<ErrorList> = schema.any_of.iter().map(errors_of).collect();
            if !all.iter().any(ErrorList::is_empty) {
                self.must(path, "must validate at least one schema (anyOf)");
                self.errors.extend(fewest(all));
            }
        }
        if !schema.one_of.is_empty() {
            let all: Vec<ErrorList> = schema.one_of.iter().map(errors_of).collect();
            match all.iter().filter(|errors| errors.is_empty()).count() {
                1 => {}
                0 => {
                    self.must(path, "must validate one and only one schema (oneOf). Found none valid");
                    self.errors.extend(fewest(all));
                }
                many => {
                    let why = format!("must validate one and only one schema (oneOf). Found {many} valid alternatives");
                    self.must(path, &why);
                }
            }
        }
        if !schema.all_of.is_empty() {
            let all: Vec<ErrorList> = schema.all_of.iter().map(errors_of).collect();
            let valid = all.iter().filter(|errors| errors.is_empty()).count();
            let broken = valid != all.len();
            all.into_iter().for_each(|errors| self.errors.extend(errors));
            if broken {
                let none = if valid == 0 { ". None validated" } else { "" };
                self.must(path, &format!("must validate all the schemas (allOf){none}"));
            }
        }
        if schema.not.as_deref().is_some_and(|not| errors_of(not).is_empty()) {
            self.must(path, "must not validate the schema (not)");
        }
    }

    /// What schemas in combination ask; upstream names the value's place only in the text.
    fn must(&mut self, path: &str, what: &str) {
        let detail = format!("\"{path}\" {what}");
        self.errors.invalid(&Path::default(), "", detail);
    }

    fn text(&mut self, text: &str, schema: &Schema, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(most) = schema.max_length.filter(|most| length > *most) {
            self.errors.too_long(&at(path), most as usize);
        } else if let Some(least) = schema.min_length.filter(|least| length < *least) {
            self.invalid(path, text, &format!("should be at least {least} chars long"));
        } else if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.invalid(path, text, &format!("should match '{}'", pattern.text));
        }
        if matches!(schema.ty.as_str(), "" | "string") && formats::breaks(&schema.format, text) {
            let detail = format!("{path} in body must be of type {}: {}", schema.format, crate::quote::quote(text));
            self.errors.type_invalid(&at(path), text, detail);
        }
    }

    fn number(&mut self, number: &serde_json::Number, schema: &Schema, path: &str) {
        let value = number.as_f64().unwrap_or_default();
        self.range(value, "Checked", schema, path);
        if let Some(factor) = schema.multiple_of {
            self.range(factor, "MultipleOf", schema, path);
            self.multiple(number, measure(number, factor, schema), path);
        }
        if let Some(least) = schema.minimum {
            self.range(least, "Minimum boundary", schema, path);
            let least = measure(number, least, schema);
            let below = if schema.exclusive_minimum { value <= least } else { value < least };
            if below {
                let or_equal = if schema.exclusive_minimum { "" } else { " or equal to" };
                self.invalid(path, number.clone(), &format!("should be greater than{or_equal} {}", show(least)));
            }
        }
        if let Some(most) = schema.maximum {
            self.range(most, "Maximum boundary", schema, path);
            let most = measure(number, most, schema);
            let above = if schema.exclusive_maximum { value >= most } else { value > most };
            if above {
                let or_equal = if schema.exclusive_maximum { "" } else { " or equal to" };
                self.invalid(path, number.clone(), &format!("should be less than{or_equal} {}", show(most)));
            }
        }
    }

    fn multiple(&mut self, number: &serde_json::Number, factor: f64, path: &str) {
        if factor <= 0.0 {
            let detail = format!("factor MultipleOf declared for {path} must be positive: {}", show(factor));
            let shown = if factor.fract() == 0.0 { Value::from(factor as i64) } else { Value::from(factor) };
            return self.errors.invalid(&at(path), shown, detail);
        }
        let times = number.as_f64().unwrap_or_default() / factor;
        if (times - times.round()).abs() > f64::EPSILON * times.abs().max(1.0) {
            self.invalid(path, number.clone(), &format!("should be a multiple of {}", show(factor)));
        }
    }

    /// Whether a number, the value or what the schema measures it by, fits the schema's type.
    fn range(&mut self, number: f64, what: &str, schema: &Schema, path: &str) {
        if let Some(ty) = formats::out_of_range(&schema.ty, &schema.format, number) {
            self.errors.invalid(&Path::default(), "", format!("{what} value must be of type {ty} in {path}"));
        }
    }

    fn items(&mut self, items: &[Value], old: Option<&Value>, schema: &Schema, path: &str) {
        if let Some(of_items) = schema.items.as_deref() {
            for (index, item) in items.iter().enumerate() {
                self.node(item, counterpart(item, old, schema), of_items, &format!("{path}[{index}]"));
            }
        }
        let count = items.len() as u64;
        if let Some(least) = schema.min_items.filter(|least| count < *least) {
            self.invalid(path, count, &format!("should have at least {least} items"));
        }
        if let Some(most) = schema.max_items.filter(|most| count > *most) {
            self.errors.too_many(&at(path), items.len(), most as usize);
        }
        if schema.unique_items && (1..items.len()).any(|index| items[..index].contains(&items[index])) {
            self.invalid(path, "", "shouldn't contain duplicates");
        }
    }

    fn one_of_allowed(&mut self, value: &Value, schema: &Schema, path: &str) {
        if schema.allowed.is_empty() || schema.allowed.contains(value) {
            return;
        }
        let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let texts: Vec<String> = schema.allowed.iter().map(show).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.errors.not_supported(&at(path), value.clone(), &texts);
    }

    fn fields(&mut self, fields: &Map<String, Value>, old: Option<&Value>, schema: &Schema, path: &str) {
        let count = fields.len() as u64;
        if let Some(least) = schema.min_properties.filter(|least| count < *least) {
            self.invalid(path, count, &format!("should have at least {least} properties"));
        }
        if let Some(most) = schema.max_properties.filter(|most| count > *most) {
            self.errors.too_many(&at(path), fields.len(), most as usize);
        }
        for (name, value) in fields {
            let old = old.and_then(|old| old.get(name));
            let below = || if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(property) = schema.properties.get(name) {
                self.node(value, old, property, &below());
            } else {
                match &schema.additional_properties {
                    Some(Additional::Schema(schema)) => self.node(value, old, schema, &format!("{path}.{name}")),
                    Some(Additional::Any(false)) => {
                        let detail = format!("{path}.{name} in body is a forbidden property");
                        self.errors.invalid(&at(path), name.as_str(), detail);
                    }
                    _ => {}
                }
            }
        }
        for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
            self.errors.required(&at(&format!("{path}.{name}")), "");
        }
    }
}

/// The place of an error: a leading dot is upstream's, and not shown.
fn at(path: &str) -> Path<'_> {
    match path.strip_prefix('.').unwrap_or(path) {
        "" => Path::default(),
        path => Path::new(path),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What a number is measured by: a whole one, as Go does, by what is whole of it. What does not fit the schema's
/// type is said to, and stays as it is.
fn measure(number: &serde_json::Number, by: f64, schema: &Schema) -> f64 {
    let fits = formats::out_of_range(&schema.ty, &schema.format, by).is_none();
    if number.is_i64() && fits { by.trunc() } else { by }
}

/// A bound as Go prints a float that holds a whole number.
fn show(bound: f64) -> String {
    if bound.fract() == 0.0 && bound.abs() < 1e15 { format!("{}", bound as i64) } else { bound.to_string() }
}

/// The old item that is this one: only keyed lists tell their items apart.
fn counterpart<'a>(item: &Value, old: Option<&'a Value>, schema: &Schema) -> Option<&'a Value> {
    if schema.list_type != "map" {
        return None;
    }
    let same_keys = |old: &&Value| schema.list_map_keys.iter().all(|key| old.get(key) == item.get(key));
    old?.as_array()?.iter().find(same_keys)
}

/// Whether CEL rules can be asked: these errors make a value unfit for them.
pub fn blocks_rules(errors: &ErrorList) -> bool {
    let blocking =
        [ErrorType::NotSupported, ErrorType::Required, ErrorType::TooLong, ErrorType::TooMany, ErrorType::TypeInvalid];
    errors.0.iter().any(|error| blocking.contains(&error.kind))
}
