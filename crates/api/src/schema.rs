//! Field tables: what every generic part (codecs, patches, pruning, OpenAPI) knows of a type.
//!
//! Built-in types come from the generated table (`data/`, made by `cargo xtask gen-api`);
//! custom resources build the same structs from their structural schema at run time.

use std::collections::BTreeMap;
use std::sync::Arc;

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
}

impl ObjectType {
    /// The field with exactly this JSON name.
    pub fn field(&self, json: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| f.json.as_str().cmp(json)).ok().map(|i| &self.fields[i])
    }
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
    /// Go `omitempty`/pointer: an absent value stays absent; else the zero value is written out.
    pub omit_empty: bool,
    /// Go pointer (or slice/map): an explicit zero differs from absent (matters to protobuf).
    pub pointer: bool,
    /// Flat in JSON, a nested message in protobuf (Go inline). `ty` is then an object whose fields
    /// ALSO stand in the parent's `fields` with `inlined_from` set; the nested field itself is not
    /// addressable by JSON.
    pub inline: bool,
    /// Tag of the inline message this flattened field is nested in on the protobuf wire; 0 for none.
    pub inlined_from: u32,
    /// Strategic merge patch, `x-kubernetes-patch-strategy`.
    pub patch: PatchStrategy,
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
}

#[derive(Debug)]
pub struct ListType {
    pub item: Type,
    pub kind: ListKind,
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
#[derive(Debug)]
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
    static REGISTRY: std::sync::LazyLock<Registry> =
        std::sync::LazyLock::new(|| Registry { types: Vec::new(), by_name: BTreeMap::new(), by_kind: BTreeMap::new() });
    &REGISTRY
}
