//! Declared types: what a schema says of a value. One tree serves the checker (fields and their types),
//! the estimator (how large a value can be) and evaluation (how JSON reads).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::escape::unescape;
use crate::types::Type;

/// How JSON of a declared type reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    IntOrString,
    List,
    Map,
    Object,
    /// As JSON says.
    Dyn,
    /// As Go decodes JSON that it knows nothing of: numbers are doubles, and names may be escaped.
    Decoded,
    /// Not to be looked into: `x-kubernetes-preserve-unknown-fields` without a type.
    Opaque,
}

/// What a list stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    Set,
    /// Keyed by these properties.
    Map(Vec<Arc<str>>),
}

#[derive(Clone, Debug)]
pub struct DeclType {
    pub form: Form,
    /// Nothing where expressions must not see the value.
    pub cel: Option<Type>,
    pub nullable: bool,
    /// Most characters, items or entries.
    pub max_elements: u64,
    /// Fewest bytes as JSON.
    pub min_size: u64,
    element: Option<Arc<DeclType>>,
    list: ListKind,
    /// By their names in JSON.
    properties: BTreeMap<Arc<str>, Arc<DeclType>>,
}

/// Bytes in the largest request: what bounds anything without a bound of its own.
const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;

impl DeclType {
    /// A type without parts.
    pub fn scalar(form: Form) -> Self {
        let (cel, min_size) = match form {
            Form::Bool => (Type::Bool, 4),
            Form::Int => (Type::Int, 1),
            Form::Double => (Type::Double, 1),
            Form::String => (Type::String, 2),
            Form::Bytes => (Type::Bytes, 2),
            Form::Duration => (Type::Duration, 3),
            Form::Date => (Type::Timestamp, 12),
            Form::DateTime => (Type::Timestamp, 21),
            _ => (Type::Dyn, 1),
        };
        let max_elements = match form {
            Form::String | Form::Bytes | Form::IntOrString => MAX_REQUEST_BYTES - 2,
            Form::Duration | Form::DateTime => 32,
            Form::Date => 12,
            _ => 0,
        };
        Self {
            form,
            cel: Some(cel),
            nullable: false,
            max_elements,
            min_size,
            element: None,
            list: ListKind::Atomic,
            properties: BTreeMap::new(),
        }
    }

    pub fn list(element: Arc<Self>) -> Self {
        let cel = element.cel.clone().map(Type::list);
        let max_elements = (MAX_REQUEST_BYTES - 2) / (element.min_size + 1);
        Self { form: Form::List, cel, max_elements, min_size: 2, element: Some(element), ..Self::scalar(Form::List) }
    }

    pub fn map(value: Arc<Self>) -> Self {
        let cel = value.cel.clone().map(|value| Type::map(Type::String, value));
        let max_elements = (MAX_REQUEST_BYTES - 2) / (value.min_size + 6);
        Self { form: Form::Map, cel, max_elements, min_size: 2, element: Some(value), ..Self::scalar(Form::Map) }
    }

    /// An object; `name` is its type's, unique among the types of an expression.
    pub fn object(name: &str, properties: impl IntoIterator<Item = (Arc<str>, Arc<Self>)>) -> Self {
        Self {
            form: Form::Object,
            cel: Some(Type::object(name)),
            min_size: 2,
            properties: properties.into_iter().collect(),
            ..Self::scalar(Form::Object)
        }
    }

    /// Of an OpenAPI v3 schema as CustomResourceDefinitions write it. `root` for resources, embedded ones
    /// too: their `apiVersion`, `kind` and names are there whatever the schema says.
    pub fn from_schema(schema: &Json, root: bool, name: &str) -> Self {
        Reader { schema }.read(root, name)
    }

    pub fn is_object(&self) -> bool {
        self.form == Form::Object
    }

    pub fn element(&self) -> Option<&Self> {
        match self.form {
            Form::Decoded => Some(self),
            _ => self.element.as_deref(),
        }
    }

    pub fn list_kind(&self) -> &ListKind {
        &self.list
    }

    /// Of a property by its name in JSON; of any entry, for a map.
    pub fn property(&self, name: &str) -> Option<&Self> {
        match self.form {
            Form::Map | Form::Decoded => self.element(),
            _ => self.properties.get(name).map(|property| &**property),
        }
    }

    /// Of a field by the name expressions use.
    pub fn field(&self, ident: &str) -> Option<&Self> {
        if let Some(plain) =
            self.properties.get(ident).filter(|_| crate::escape::escape(ident).as_deref() == Some(ident))
        {
            return Some(plain).filter(|field| field.cel.is_some()).map(|field| &**field);
        }
        let name = unescape(ident)?;
        // Only the canonical escape is a name.
        let field =
            self.properties.get(name.as_str()).filter(|_| crate::escape::escape(&name).as_deref() == Some(ident))?;
        field.cel.is_some().then_some(&**field)
    }

    /// Every object type within, with its name.
    pub fn objects(&self, found: &mut Vec<(Arc<str>, Arc<DeclType>)>) {
        if let (Form::Object, Some(Type::Struct(name))) = (self.form, &self.cel) {
            found.push((name.clone(), Arc::new(self.clone())));
        }
        self.element.iter().chain(self.properties.values()).for_each(|part| part.objects(found));
    }
}

struct Reader<'s> {
    schema: &'s Json,
}

impl Reader<'_> {
    fn flag(&self, key: &str) -> bool {
        self.schema[key].as_bool().unwrap_or_default()
    }

    fn bound(&self, key: &str) -> Option<u64> {
        self.schema[key].as_i64().map(|bound| bound.max(0) as u64)
    }

    fn read(&self, root: bool, name: &str) -> DeclType {
        let mut decl = self.shape(root || self.flag("x-kubernetes-embedded-resource"), name);
        decl.nullable = self.flag("nullable");
        decl
    }

    fn shape(&self, root: bool, name: &str) -> DeclType {
        if self.flag("x-kubernetes-int-or-string") {
            let mut decl = DeclType::scalar(Form::IntOrString);
            if let Some(length) = self.bound("maxLength") {
                decl.max_elements = length * 4;
            }
            return decl;
        }
        match self.schema["type"].as_str() {
            Some("array") => self.list(name),
            Some("object") => self.object(root, name),
            Some("string") => self.string(),
            Some("boolean") => DeclType::scalar(Form::Bool),
            Some("number") => DeclType::scalar(Form::Double),
            Some("integer") => DeclType::scalar(Form::Int),
            _ => DeclType { cel: None, ..DeclType::scalar(Form::Opaque) },
        }
    }

    fn list(&self, name: &str) -> DeclType {
        let element = DeclType::from_schema(&self.schema["items"], false, &format!("{name}.@idx"));
        let mut decl = DeclType::list(Arc::new(element));
        if let Some(items) = self.bound("maxItems") {
            decl.max_elements = items;
        }
        decl.list = match self.schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys = self.schema["x-kubernetes-list-map-keys"].as_array();
                ListKind::Map(keys.into_iter().flatten().filter_map(Json::as_str).map(Arc::from).collect())
            }
            _ => ListKind::Atomic,
        };
        decl
    }

    fn object(&self, root: bool, name: &str) -> DeclType {
        let additional = &self.schema["additionalProperties"];
        if additional.is_object() {
            let value = DeclType::from_schema(additional, false, &format!("{name}.@elem"));
            let mut decl = DeclType::map(Arc::new(value));
            if let Some(entries) = self.bound("maxProperties") {
                decl.max_elements = entries;
            }
            return decl;
        }
        let required: Vec<&str> =
            self.schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let mut properties: BTreeMap<Arc<str>, Arc<DeclType>> = BTreeMap::new();
        let mut min_size = 2;
        for (key, schema) in self.schema["properties"].as_object().into_iter().flatten() {
            let property = DeclType::from_schema(schema, false, &format!("{name}.{key}"));
            // What a default fills in need not be sent.
            if property.cel.is_some() && required.contains(&key.as_str()) && schema.get("default").is_none() {
                min_size += key.len() as u64 + property.min_size + 4;
            }
            properties.insert(key.as_str().into(), Arc::new(property));
        }
        if root {
            add_type_and_name(&mut properties, &format!("{name}.metadata"));
        }
        DeclType { min_size, ..DeclType::object(name, properties) }
    }

    fn string(&self) -> DeclType {
        let form = match self.schema["format"].as_str() {
            Some("byte") => Form::Bytes,
            Some("duration") => Form::Duration,
            Some("date") => Form::Date,
            Some("date-time") => Form::DateTime,
            _ => Form::String,
        };
        let mut decl = DeclType::scalar(form);
        let length = self.bound("maxLength");
        match (form, length, self.schema["enum"].as_array()) {
            (Form::Bytes, Some(length), _) => decl.max_elements = length,
            // Bounds count characters, sizes bytes: up to four each.
            (Form::String, Some(length), _) => decl.max_elements = length.saturating_mul(4),
            (Form::String, None, Some(values)) if !values.is_empty() => {
                let longest = values.iter().filter_map(Json::as_str).map(str::len).max();
                decl.max_elements = longest.unwrap_or_default() as u64;
            }
            _ => {}
        }
        decl
    }
}

/// `apiVersion`, `kind`, `metadata.name` and `metadata.generateName` are always there, and of `metadata`
/// nothing else, unless the schema already says so.
fn add_type_and_name(properties: &mut BTreeMap<Arc<str>, Arc<DeclType>>, metadata: &str) {
    let string = |decl: Option<&Arc<DeclType>>| decl.is_some_and(|decl| decl.form == Form::String);
    let named = properties.get("metadata").is_some_and(|decl| {
        decl.is_object() && string(decl.properties.get("name")) && string(decl.properties.get("generateName"))
    });
    if named && string(properties.get("kind")) && string(properties.get("apiVersion")) {
        return;
    }
    let text = Arc::new(DeclType::scalar(Form::String));
    let names = ["name", "generateName"].map(|name| (Arc::from(name), text.clone()));
    properties.insert("metadata".into(), Arc::new(DeclType::object(metadata, names)));
    properties.insert("kind".into(), text.clone());
    properties.insert("apiVersion".into(), text);
}
