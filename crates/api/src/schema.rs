//! Field tables: what every generic part (codecs, patches, pruning, OpenAPI) knows of a type.
//!
//! Built-in types come from the generated table (`data/`, made by `cargo xtask gen-api`);
//! custom resources build the same structs from their structural schema at run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

mod table;

/// An object type: its fields by JSON name.
#[derive(Debug)]
pub struct ObjectType {
    /// OpenAPI definition name (`io.k8s.api.core.v1.Pod`), or the CRD's own.
    pub name: String,
    /// Sorted by JSON name.
    pub fields: Vec<Field>,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// Apply treats the whole object as one value (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// For Go-inlined unions: (discriminator JSON name, member JSON names); empty for almost all.
    pub unions: Vec<(String, Vec<String>)>,
    /// Indices of the fields that stand in the type's own protobuf message, by number.
    pub(crate) message: Vec<u16>,
}

impl ObjectType {
    /// A type of these fields, in any order; nothing else is special about it.
    pub fn new(name: impl Into<String>, mut fields: Vec<Field>) -> Self {
        fields.sort_by(|a, b| a.json.cmp(&b.json).then(a.tag.cmp(&b.tag)));
        let message = message_order(&fields);
        Self { name: name.into(), fields, preserve_unknown: false, atomic: false, unions: Vec::new(), message }
    }

    /// The field with exactly this JSON name.
    pub fn field(&self, json: &str) -> Option<&Field> {
        self.position(json).map(|index| &self.fields[index])
    }

    /// Where in `fields` that field stands.
    pub fn position(&self, json: &str) -> Option<usize> {
        let found = self.fields.binary_search_by(|f| f.json.as_str().cmp(json)).ok()?;
        Some(found).filter(|index| !self.fields[*index].inline)
    }

    /// The fields of the type's own protobuf message by number; flattened ones stand in a nested message.
    pub fn by_tag(&self) -> impl Iterator<Item = &Field> {
        self.message.iter().map(|index| &self.fields[usize::from(*index)])
    }

    /// The field with this number in the type's own protobuf message.
    pub fn tagged(&self, tag: u32) -> Option<&Field> {
        let found = self.message.binary_search_by_key(&tag, |index| self.fields[usize::from(*index)].tag).ok()?;
        Some(&self.fields[usize::from(self.message[found])])
    }

    /// `Pod` of `io.k8s.api.core.v1.Pod`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// `v1.Pod` of `io.k8s.api.core.v1.Pod`: Go's name, as decoding errors print it.
    pub fn go_name(&self) -> &str {
        self.name.rmatch_indices('.').nth(1).map_or(&self.name, |(dot, _)| &self.name[dot + 1..])
    }
}

fn message_order(fields: &[Field]) -> Vec<u16> {
    let on_wire = |index: &u16| {
        let field = &fields[usize::from(*index)];
        field.tag != 0 && field.inlined_from == 0
    };
    let mut order: Vec<u16> = (0..fields.len() as u16).filter(on_wire).collect();
    order.sort_by_key(|index| fields[usize::from(*index)].tag);
    order
}

/// One field.
#[derive(Debug)]
pub struct Field {
    pub json: String,
    /// Protobuf field number; 0 where the type has no protobuf form (custom resources).
    pub tag: u32,
    pub ty: Type,
    /// Listed as required by the published schema.
    pub required: bool,
    /// Go `omitempty`: an absent value stays absent; else the zero value is written out, of a pointer null.
    pub omit_empty: bool,
    /// Go pointer (or slice/map): an explicit zero differs from absent (matters to protobuf).
    pub pointer: bool,
    /// Flat in JSON, a nested message in protobuf (Go inline). `ty` is then an object whose fields
    /// ALSO stand in the parent's `fields` with `inlined_from` set; the nested field itself is not
    /// addressable by JSON: its `json` is empty.
    pub inline: bool,
    /// Tag of the inline message this flattened field is nested in on the protobuf wire; 0 for none.
    pub inlined_from: u32,
    /// Strategic merge patch, `x-kubernetes-patch-strategy`.
    pub patch: PatchStrategy,
    /// Apply owns the fields or entries one by one (`x-kubernetes-map-type: granular`), though the type may say
    /// `atomic`.
    pub granular: bool,
    /// Published default other than the zero value; apply takes it for an absent list key.
    pub default: Option<Value>,
    /// Go's name of a scalar's type where it has its own (`v1.Protocol`), as decoding errors print it.
    pub go_type: Option<Box<str>>,
    /// Upstream's server tells an empty list or map from none, though it writes neither.
    pub empty_counts: bool,
    /// The same of every list and map inside the value.
    pub empty_counts_below: bool,
    /// The values that are published for the field, or for the items of its list or map; empty for any.
    pub values: Box<[Box<str>]>,
}

impl Field {
    /// An optional field without protobuf form, as custom resources have them.
    pub fn new(json: impl Into<String>, ty: Type) -> Self {
        Self {
            json: json.into(),
            tag: 0,
            ty,
            required: false,
            omit_empty: true,
            pointer: true,
            inline: false,
            inlined_from: 0,
            patch: PatchStrategy::default(),
            granular: false,
            default: None,
            go_type: None,
            empty_counts: false,
            empty_counts_below: false,
            values: Box::default(),
        }
    }
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    pub merge: bool,
    pub replace: bool,
    pub retain_keys: bool,
    pub merge_key: Option<String>,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Type {
    Bool,
    Int32,
    Int64,
    Double,
    String,
    /// base64 in JSON.
    Bytes,
    Quantity,
    IntOrString,
    /// RFC 3339, seconds.
    Time,
    /// RFC 3339, six digits of fraction.
    MicroTime,
    /// Go duration text (`1h5m`).
    Duration,
    /// Any object, carried as raw JSON (`runtime.RawExtension`).
    RawExtension,
    /// `metav1.FieldsV1`.
    FieldsV1,
    /// Any JSON (`apiextensions.JSON`, preserve-unknown-fields).
    Json,
    List(Arc<ListType>),
    Map(Arc<MapType>),
    Object(ObjectRef),
    /// `apiextensions.JSONSchemaPropsOrBool`: a schema, or whether anything is allowed.
    SchemaOrBool(ObjectRef),
    /// `apiextensions.JSONSchemaPropsOrArray`: one schema, or one for each item.
    SchemaOrArray(ObjectRef),
    /// `apiextensions.JSONSchemaPropsOrStringArray`: a schema, or names of fields.
    SchemaOrStrings(ObjectRef),
}

#[derive(Debug)]
pub struct ListType {
    pub item: Type,
    pub kind: ListKind,
    /// The schema says the kind in so many words; a list without one is atomic.
    pub declared: bool,
    /// On the protobuf wire the list is a message `{ repeated items = 1 }` (`ExtraValue`, `Verbs`).
    pub wrapped: bool,
}

impl ListType {
    /// A plain list.
    pub fn new(item: Type, kind: ListKind) -> Self {
        Self { item, kind, declared: true, wrapped: false }
    }
}

/// `x-kubernetes-list-type`, `x-kubernetes-list-map-keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    Set,
    /// JSON names of the key fields.
    Map(Vec<String>),
}

#[derive(Debug)]
pub struct MapType {
    pub value: Type,
    /// Apply owns the whole map (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
}

/// A reference to an object type; built-ins go through the registry so that types may recurse.
#[derive(Clone, Debug)]
pub enum ObjectRef {
    /// Index into [`builtin`].
    Builtin(u16),
    Custom(Arc<ObjectType>),
}

impl ObjectRef {
    pub fn get(&self) -> &ObjectType {
        match self {
            Self::Builtin(i) => &builtin().types[usize::from(*i)],
            Self::Custom(t) => t,
        }
    }
}

/// Every built-in type of Kubernetes v1.37.
#[derive(Debug, Default)]
pub struct Registry {
    pub types: Vec<ObjectType>,
    /// OpenAPI definition name -> index.
    pub by_name: BTreeMap<String, u16>,
    /// (apiVersion, kind) -> index, for every kind incl. lists, options and subresource bodies.
    pub by_kind: BTreeMap<(String, String), u16>,
}

impl Registry {
    /// The type of a top-level kind: `of("apps/v1", "Deployment")`.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<ObjectRef> {
        self.by_kind.get(&(api_version.to_owned(), kind.to_owned())).map(|i| ObjectRef::Builtin(*i))
    }

    /// The type with this OpenAPI definition name.
    pub fn named(&self, name: &str) -> Option<ObjectRef> {
        self.by_name.get(name).map(|i| ObjectRef::Builtin(*i))
    }
}

/// The built-in registry, decoded from the generated table on first use.
pub fn builtin() -> &'static Registry {
    static REGISTRY: std::sync::LazyLock<Registry> = std::sync::LazyLock::new(table::read);
    &REGISTRY
}
