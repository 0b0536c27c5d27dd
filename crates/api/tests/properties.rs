//! What must hold for any input: decoders never panic, and nothing is lost on the way there and back.

use orlop_api::codec::json::{self, FieldValidation};
use orlop_api::codec::{protobuf, yaml};
use orlop_api::quantity::Quantity;
use orlop_api::schema::{ObjectType, Registry, Type, builtin};
use orlop_api::{Map, Value, duration};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Any JSON, as YAML can say it too: whole floats are read as integers there.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("a fraction", |f| f.fract() != 0.0).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(text(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Words that YAML would rather take for something else, lines, and any characters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z./-]{0,12}",
        "(yes|no|null|~|0x1f|0644|1e3|\\.5|-|\\?|:|<<|2024-01-02|12:30|true|\\[|\\{a|#|- x|a: b|'|\"|%|@|`)",
        "([a-z]{1,9} ){0,30}",
        "([ a-z#:-]{0,9}\n){0,4}[a-z]{0,3}",
        "\\PC{0,8}",
        any::<String>(),
    ]
}

/// Makes an object of a type out of bytes; each choice takes one, and without bytes it is the smallest.
struct Maker<'a> {
    entropy: &'a [u8],
}

impl Maker<'_> {
    fn choose(&mut self, below: usize) -> usize {
        let Some((first, rest)) = self.entropy.split_first() else { return 0 };
        self.entropy = rest;
        usize::from(*first) % below
    }

    fn object(&mut self, ty: &ObjectType, depth: usize) -> Value {
        let mut map = Map::new();
        for field in ty.fields.iter().filter(|f| !f.inline && f.tag != 0) {
            if depth < 6 && self.choose(3) == 1 {
                map.insert(field.json.clone(), self.value(&field.ty, depth));
            }
        }
        Value::Object(map)
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        const NUMBERS: [i64; 6] = [0, 1, -1, 80, 2_147_483_647, -2_147_483_648];
        const TEXTS: [&str; 5] = ["", "a", "é", "two words", "\u{1f600}\n"];
        const QUANTITIES: [&str; 6] = ["0", "100m", "1.5Gi", "1e3", "12E", "1500"];
        match ty {
            Type::Bool => (self.choose(2) == 1).into(),
            Type::Int32 | Type::Int64 => NUMBERS[self.choose(6)].into(),
            Type::Double => [0.0, 1.5, -2.25, 1e-9][self.choose(4)].into(),
            Type::String => TEXTS[self.choose(5)].into(),
            Type::Bytes => ["", "AA==", "AAEC/w=="][self.choose(3)].into(),
            Type::Quantity => QUANTITIES[self.choose(6)].into(),
            Type::IntOrString => [Value::from(0), 8080.into(), "25%".into(), "".into()][self.choose(4)].clone(),
            Type::Time => ["1970-01-01T00:00:00Z", "2024-02-29T12:30:45Z"][self.choose(2)].into(),
            Type::MicroTime => ["1969-12-31T23:59:59.000001Z", "2024-02-29T12:30:45.123456Z"][self.choose(2)].into(),
            Type::Duration => ["0s", "1h5m0s", "-1.5s"][self.choose(3)].into(),
            Type::RawExtension | Type::FieldsV1 | Type::Json => {
                serde_json::json!({ "f:a": { "n": null, "x": [1, 2.5] } })
            }
            Type::List(list) => (0..=self.choose(2)).map(|_| self.value(&list.item, depth + 1)).collect(),
            Type::Map(map) => {
                let keys = ["", "a", "kubernetes.io/b"].into_iter().take(1 + self.choose(3));
                keys.map(|key| (key.to_owned(), self.value(&map.value, depth + 1))).collect::<Map<_, _>>().into()
            }
            Type::Object(object) => self.object(object.get(), depth + 1),
            Type::SchemaOrBool(_) if self.choose(2) == 0 => (self.choose(2) == 0).into(),
            Type::SchemaOrStrings(_) if self.choose(2) == 0 => serde_json::json!(["a"]),
            Type::SchemaOrArray(s) if self.choose(2) == 0 => Value::Array(vec![self.object(s.get(), depth + 1)]),
            Type::SchemaOrBool(s) | Type::SchemaOrArray(s) | Type::SchemaOrStrings(s) => {
                self.object(s.get(), depth + 1)
            }
        }
    }
}

/// A kind and an object of it, normalised.
fn any_object() -> impl Strategy<Value = (&'static ObjectType, Value)> {
    let registry: &'static Registry = builtin();
    let kinds: Vec<(&(String, String), u16)> = registry
        .by_kind
        .iter()
        .map(|(kind, index)| (kind, *index))
        // Tables have no protobuf form; a List holds objects that name their own kind.
        .filter(|((_, kind), _)| !matches!(kind.as_str(), "Table" | "List" | "WatchEvent"))
        .collect();
    (prop::sample::select(kinds), vec(any::<u8>(), 0..400)).prop_map(move |(((api_version, kind), index), entropy)| {
        let ty = &registry.types[usize::from(index)];
        let mut object = Maker { entropy: &entropy }.object(ty, 0);
        object["apiVersion"] = api_version.as_str().into();
        object["kind"] = kind.as_str().into();
        json::normalise(&mut object, ty);
        json::settle(&mut object, ty, true);
        (ty, object)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn json_gives_back_a_normal_object((ty, object) in any_object()) {
        let (read, _) = json::decode(&json::encode(&object), Some(ty), FieldValidation::Strict).unwrap();
        prop_assert_eq!(read, object);
    }

    #[test]
    fn protobuf_gives_back_a_normal_object((ty, object) in any_object()) {
        let (_, _, read) = protobuf::decode(&protobuf::encode(&object, ty)).unwrap();
        prop_assert_eq!(read, object);
    }

    #[test]
    fn yaml_gives_back_any_json(value in any_json()) {
        let text = yaml::to_yaml(&value);
        prop_assert_eq!(yaml::from_yaml(text.as_bytes()), Ok(value), "{}", text);
    }

    #[test]
    fn decoders_are_total(bytes in vec(any::<u8>(), 0..200)) {
        let pod = builtin().of("v1", "Pod").unwrap();
        let _ = json::decode(&bytes, Some(pod.get()), FieldValidation::Strict);
        let _ = json::decode(&bytes, None, FieldValidation::Strict);
        let _ = yaml::from_yaml_all(&bytes);
        let _ = protobuf::decode(&bytes);
        let _ = protobuf::decode_message(&bytes, pod.get());
    }

    #[test]
    fn damaged_messages_are_refused_or_read((ty, object) in any_object(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = protobuf::encode(&object, ty);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = protobuf::decode(&bytes);
        let _ = protobuf::decode(&bytes[..at]);
    }

    #[test]
    fn reading_json_is_what_serde_reads(value in any_json()) {
        let bytes = json::encode(&value);
        if !value.is_array() {
            prop_assert_eq!(json::decode(&bytes, None, FieldValidation::Strict).unwrap().0, value);
        }
    }

    #[test]
    fn canonical_quantities_stay(text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti|e[0-9]|E-?[0-9]|n|u)?") {
        if let Ok(quantity) = Quantity::parse(&text) {
            let canonical = quantity.to_string();
            let again = Quantity::parse(&canonical).unwrap();
            prop_assert_eq!(&again, &quantity);
            prop_assert_eq!(again.to_string(), canonical);
        }
    }

    #[test]
    fn quantities_add_up(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
        let milli = |n: i64| Quantity::parse(&format!("{n}m")).unwrap();
        let mut sum = milli(a);
        sum.add(&milli(b));
        prop_assert_eq!(sum.milli_value(), a + b);
        sum.sub(&milli(b));
        prop_assert_eq!(&sum, &milli(a));
        prop_assert_eq!(milli(a).cmp(&milli(b)), a.cmp(&b));
    }

    #[test]
    fn durations_stay(nanos: i64) {
        prop_assert_eq!(duration::parse(&duration::format(nanos)), Ok(nanos));
    }
}

/// The deepest document that is let in goes through every codec on a thread's usual stack, and a deeper one
/// through none.
#[test]
fn depth_is_bounded_before_the_stack_is() {
    let crd = builtin().of("apiextensions.k8s.io/v1", "CustomResourceDefinition").unwrap();
    let nested = |levels: usize| {
        let schema =
            (0..levels).fold(Value::Bool(true), |inner, _| serde_json::json!({ "additionalProperties": inner }));
        let mut object = serde_json::json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": { "versions": [{ "schema": { "openAPIV3Schema": schema } }] },
        });
        json::normalise(&mut object, crd.get());
        object
    };
    let read_json = |object: &Value| json::decode(&json::encode(object), Some(crd.get()), FieldValidation::Strict);
    // The schema stands five levels down.
    let deepest = nested(orlop_api::codec::MAX_DEPTH - 5);
    assert_eq!(read_json(&deepest).unwrap().0, deepest);
    assert_eq!(protobuf::decode(&protobuf::encode(&deepest, crd.get())).unwrap().2, deepest);
    assert_eq!(yaml::from_yaml(yaml::to_yaml(&deepest).as_bytes()).unwrap(), deepest);
    assert_eq!(serde_json::from_slice::<Value>(&json::encode(&deepest)).unwrap(), deepest);

    let deeper = nested(orlop_api::codec::MAX_DEPTH - 4);
    assert!(read_json(&deeper).is_err());
    assert!(protobuf::decode(&protobuf::encode(&deeper, crd.get())).is_err());
    assert!(yaml::from_yaml(yaml::to_yaml(&deeper).as_bytes()).is_err());
}
