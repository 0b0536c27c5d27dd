//! Reads the generated table (`data/types.txt`) into a [`Registry`].
//!
//! A line that starts with
//! - `=` names a package: `= core.v1 io.k8s.api.core.v1`
//! - a letter opens a type: `core.v1.Pod @v1`, followed by `atomic` (map type), `union:<discriminator>:<members>`,
//!   and `@<apiVersion>` for each group and version in which it is a kind
//! - a space is a field of the open type: `name tag type` and any of
//!   `*` Go pointer, `?` left out when empty, `!` required, `^7` nested in message 7 on the protobuf wire,
//!   `granular` (map type of this field only), `%merge,retainKeys:name` patch strategy and merge key,
//!   `go:v1.Protocol` Go's name of the type, `enum:["TCP","UDP"]` published values, `="TCP"` published default.
//!   A field named `-` is the nested message itself.
//!
//! Types are letters (see [`Reader::leaf`]), `[item|kind]`, `{value|atomic}`, `w[…]` for a list that protobuf
//! wraps in a message, or the name of an object type.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Field, ListKind, ListType, MapType, ObjectRef, ObjectType, PatchStrategy, Registry, Type};

const TABLE: &str = include_str!("../../data/types.txt");

/// Optional lists and maps that upstream's server compares with nil somewhere, so that an empty one is not as none
/// until it is stored; `*` stands for all of a type, `**` also for those in what the type holds.
const EMPTY_COUNTS: &[(&str, &[&str])] = &[
    ("apiextensions.v1.JSONSchemaProps", &["*"]),
    ("apps.v1.StatefulSetSpec", &["volumeClaimTemplates"]),
    ("autoscaling.v2.HPAScalingRules", &["policies"]),
    ("core.v1.ConfigMap", &["binaryData", "data"]),
    ("core.v1.NodeStatus", &["allocatable"]),
    ("core.v1.PersistentVolumeSpec", &["capacity"]),
    ("core.v1.PodSpec", &["overhead"]),
    ("core.v1.ResourceQuotaSpec", &["scopes"]),
    ("core.v1.Secret", &["data"]),
    ("core.v1.VolumeResourceRequirements", &["requests"]),
    ("meta.v1.ObjectMeta", &["finalizers", "labels", "managedFields", "ownerReferences"]),
    ("networking.v1.NetworkPolicySpec", &["**"]),
    ("networking.v1.ServiceCIDRSpec", &["cidrs"]),
    ("resource.v1.ResourceSliceSpec", &["devices", "sharedCounters"]),
];

/// Decodes the committed table. It is a build artefact: what is wrong with it is found by tests, so this panics.
pub fn read() -> Registry {
    let mut reader = Reader::default();
    reader.index(TABLE);
    reader.fill(TABLE);
    for (ty, fields) in EMPTY_COUNTS {
        let ty = &mut reader.registry.types[usize::from(reader.names[ty])];
        let below = fields.contains(&"**");
        let all = below || fields.contains(&"*");
        for field in ty.fields.iter_mut().filter(|field| all || fields.contains(&&*field.json)) {
            field.empty_counts = matches!(field.ty, Type::List(_) | Type::Map(_) | Type::SchemaOrArray(_));
            field.empty_counts_below = below;
        }
    }
    for ty in &mut reader.registry.types {
        ty.message = super::message_order(&ty.fields);
    }
    reader.registry
}

#[derive(Default)]
struct Reader<'a> {
    prefixes: BTreeMap<&'a str, &'a str>,
    /// Short name -> index.
    names: HashMap<&'a str, u16>,
    registry: Registry,
}

impl<'a> Reader<'a> {
    /// First pass: number the types, so that fields may refer to any of them.
    fn index(&mut self, table: &'a str) {
        for line in table.lines() {
            if let Some((short, long)) = line.strip_prefix("= ").and_then(|l| l.split_once(' ')) {
                self.prefixes.insert(short, long);
            } else if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.open(line);
            }
        }
    }

    fn open(&mut self, line: &'a str) {
        let mut words = line.split(' ');
        let short = words.next().unwrap_or_default();
        let (package, kind) = short.rsplit_once('.').expect("type names have a package");
        let index = u16::try_from(self.registry.types.len()).expect("fewer than 65536 types");
        let mut ty = ObjectType::new(format!("{}.{kind}", self.prefixes[package]), Vec::new());
        for word in words {
            if let Some(api_version) = word.strip_prefix('@') {
                self.registry.by_kind.insert((api_version.to_owned(), kind.to_owned()), index);
            } else if let Some((discriminator, members)) = word.strip_prefix("union:").and_then(|u| u.split_once(':')) {
                ty.unions.push((discriminator.to_owned(), members.split(',').map(str::to_owned).collect()));
            } else {
                ty.atomic |= word == "atomic";
            }
        }
        self.names.insert(short, index);
        self.registry.by_name.insert(ty.name.clone(), index);
        self.registry.types.push(ty);
    }

    /// Second pass: fields, which the generator wrote sorted by name.
    fn fill(&mut self, table: &'a str) {
        let mut open = None;
        for line in table.lines() {
            if let Some(field) = line.strip_prefix(' ') {
                let field = self.field(field);
                let at: usize = open.expect("fields follow a type");
                self.registry.types[at].fields.push(field);
            } else if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
                open = Some(open.map_or(0, |at| at + 1));
            }
        }
    }

    fn field(&self, line: &str) -> Field {
        let mut words = line.split(' ');
        let name = words.next().expect("a field has a name");
        let tag = words.next().and_then(|w| w.parse().ok()).expect("a field has a tag");
        let ty = self.ty(words.next().expect("a field has a type"));
        let inline = name == "-";
        let collection = matches!(ty, Type::List(_) | Type::Map(_) | Type::Bytes);
        let mut field = Field {
            tag,
            inline,
            omit_empty: inline,
            pointer: collection,
            ..Field::new(if inline { "" } else { name }, ty)
        };
        for word in words {
            match word.as_bytes()[0] {
                b'*' => field.pointer = true,
                b'?' => field.omit_empty = true,
                b'!' => field.required = true,
                b'^' => field.inlined_from = word[1..].parse().expect("a nesting is a tag"),
                b'%' => field.patch = patch_strategy(&word[1..]),
                b'=' => field.default = serde_json::from_str(&word[1..]).ok(),
                _ if word == "granular" => field.granular = true,
                _ if word.starts_with("enum:") => {
                    field.values = serde_json::from_str(&word["enum:".len()..]).expect("values are a list");
                }
                _ => field.go_type = word.strip_prefix("go:").map(Into::into),
            }
        }
        field
    }

    fn ty(&self, text: &str) -> Type {
        if let Some(inner) = text.strip_prefix("w[") {
            return Self::list(self, inner, true);
        }
        match text.as_bytes()[0] {
            b'[' => self.list(&text[1..], false),
            b'{' => {
                let inner = text[1..].strip_suffix('}').expect("a map type is closed");
                let (value, atomic) = inner.strip_suffix("|atomic").map_or((inner, false), |value| (value, true));
                Type::Map(Arc::new(MapType { value: self.ty(value), atomic }))
            }
            _ => self.leaf(text),
        }
    }

    fn list(&self, inner: &str, wrapped: bool) -> Type {
        let inner = inner.strip_suffix(']').expect("a list type is closed");
        // The kind follows the last bar that is not inside a nested type.
        let split = inner.rsplit_once('|').filter(|(_, kind)| !kind.contains([']', '}']));
        let (item, kind) = split.unwrap_or((inner, ""));
        let list_kind = match kind.split_once(',').unwrap_or((kind, "")) {
            ("set", _) => ListKind::Set,
            ("map", keys) => ListKind::Map(keys.split(',').map(str::to_owned).collect()),
            _ => ListKind::Atomic,
        };
        Type::List(Arc::new(ListType { item: self.ty(item), kind: list_kind, declared: !kind.is_empty(), wrapped }))
    }

    fn leaf(&self, text: &str) -> Type {
        match text {
            "b" => Type::Bool,
            "i" => Type::Int32,
            "l" => Type::Int64,
            "d" => Type::Double,
            "s" => Type::String,
            "y" => Type::Bytes,
            "q" => Type::Quantity,
            "x" => Type::IntOrString,
            "t" => Type::Time,
            "u" => Type::MicroTime,
            "n" => Type::Duration,
            "r" => Type::RawExtension,
            "f" => Type::FieldsV1,
            "j" => Type::Json,
            "B" => Type::SchemaOrBool(self.object("apiextensions.v1.JSONSchemaProps")),
            "A" => Type::SchemaOrArray(self.object("apiextensions.v1.JSONSchemaProps")),
            "S" => Type::SchemaOrStrings(self.object("apiextensions.v1.JSONSchemaProps")),
            name => Type::Object(self.object(name)),
        }
    }

    fn object(&self, short: &str) -> ObjectRef {
        ObjectRef::Builtin(*self.names.get(short).unwrap_or_else(|| panic!("type {short} stands in the table")))
    }
}

/// `merge,retainKeys:type`
fn patch_strategy(text: &str) -> PatchStrategy {
    let (strategies, key) = text.split_once(':').unwrap_or((text, ""));
    let has = |name: &str| strategies.split(',').any(|s| s == name);
    PatchStrategy {
        merge: has("merge"),
        replace: has("replace"),
        retain_keys: has("retainKeys"),
        merge_key: (!key.is_empty()).then(|| key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ListKind, Type, builtin};

    #[test]
    fn reads_every_type() {
        let registry = builtin();
        assert!(registry.types.len() > 600, "{}", registry.types.len());
        for ty in &registry.types {
            assert!(ty.fields.is_sorted_by(|a, b| a.json <= b.json), "{}", ty.name);
            for field in ty.fields.iter().filter(|f| f.inlined_from != 0) {
                let nested = ty.fields.iter().find(|f| f.inline && f.tag == field.inlined_from);
                assert!(nested.is_some(), "{}.{}", ty.name, field.json);
            }
        }
    }

    #[test]
    fn knows_list_and_patch_semantics() {
        let pod_spec = builtin().named("io.k8s.api.core.v1.PodSpec").unwrap();
        let containers = pod_spec.get().field("containers").unwrap();
        assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
        let Type::List(list) = &containers.ty else { panic!("containers is a list") };
        assert_eq!(list.kind, ListKind::Map(vec!["name".into()]));
        let Type::Object(container) = &list.item else { panic!("of objects") };
        let ports = container.get().field("ports").unwrap();
        let Type::List(ports) = &ports.ty else { panic!("ports is a list") };
        assert_eq!(ports.kind, ListKind::Map(vec!["containerPort".into(), "protocol".into()]));
        let Type::Object(port) = &ports.item else { panic!("of objects") };
        assert_eq!(port.get().field("protocol").unwrap().default, Some("TCP".into()));
        assert_eq!(pod_spec.get().go_name(), "v1.PodSpec");
    }

    #[test]
    fn finds_kinds_of_every_sort() {
        for (api_version, kind) in [
            ("v1", "Pod"),
            ("v1", "PodList"),
            ("apps/v1", "Deployment"),
            ("autoscaling/v1", "Scale"),
            ("policy/v1", "Eviction"),
            ("v1", "Status"),
            ("v1", "DeleteOptions"),
            ("apps/v1", "DeleteOptions"),
            ("meta.k8s.io/v1", "Table"),
            ("v1", "PodLogOptions"),
            ("authentication.k8s.io/v1", "TokenRequest"),
            ("v1", "Binding"),
            ("meta.k8s.io/v1", "PartialObjectMetadataList"),
            ("v1", "WatchEvent"),
            ("apidiscovery.k8s.io/v2", "APIGroupDiscoveryList"),
            ("admission.k8s.io/v1", "AdmissionReview"),
            ("v1", "List"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("apiregistration.k8s.io/v1", "APIService"),
            ("v1", "APIResourceList"),
        ] {
            assert!(builtin().of(api_version, kind).is_some(), "{api_version} {kind}");
        }
    }
}
