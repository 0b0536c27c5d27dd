//! From JSON values to CBOR. The field table tells bytes from text and floats from whole numbers; what no table knows
//! (custom resources) is written as JSON has it.

use serde_json::{Map, Number, Value};

use super::SELF_DESCRIBED;
use super::head::{self, Major, to_half};
use crate::codec::json::base64;
use crate::schema::{ObjectType, Type, builtin};

/// An object of any kind, which it says itself.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Writer(SELF_DESCRIBED.to_vec());
    out.value(value, None);
    out.0
}

/// A list, from items that are encoded already.
pub fn encode_list<'a>(
    api_version: &str,
    list_kind: &str,
    list_meta: &Value,
    items: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut out = Writer(SELF_DESCRIBED.to_vec());
    out.head(Major::Map, 4);
    out.string("kind");
    out.string(list_kind);
    out.string("items");
    out.head(Major::Array, items.len() as u64);
    items.for_each(|item| out.0.extend_from_slice(item.strip_prefix(SELF_DESCRIBED).unwrap_or(item)));
    out.string("metadata");
    out.value(list_meta, None);
    out.string("apiVersion");
    out.string(api_version);
    out.0
}

/// One event of a watch: items of a sequence follow one another with nothing between them.
pub fn encode_watch_event(event_type: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Writer(SELF_DESCRIBED.to_vec());
    out.head(Major::Map, 2);
    out.string("type");
    out.string(event_type);
    out.string("object");
    out.0.extend_from_slice(object);
    out.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, major: Major, argument: u64) {
        let bytes = argument.to_be_bytes();
        let (info, size) = match argument {
            0..24 => (argument as u8, 0),
            24..0x100 => (head::ONE_BYTE, 1),
            0x100..0x1_0000 => (head::TWO_BYTES, 2),
            0x1_0000..0x1_0000_0000 => (head::FOUR_BYTES, 4),
            _ => (head::EIGHT_BYTES, 8),
        };
        self.0.push((major as u8) << 5 | info);
        self.0.extend_from_slice(&bytes[8 - size..]);
    }

    fn string(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.head(Major::Bytes, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The bytes behind base64, unless they would not become that very text again.
    fn base64(&mut self, text: &str) {
        match base64::decode(text) {
            Ok(bytes) if base64::encode(&bytes) == text => {
                self.head(Major::Tag, head::BASE64);
                self.bytes(&bytes);
            }
            _ => self.string(text),
        }
    }

    fn primitive(&mut self, info: u8) {
        self.0.push((Major::Primitive as u8) << 5 | info);
    }

    fn value(&mut self, value: &Value, ty: Option<&Type>) {
        match value {
            Value::Null => self.primitive(head::NULL),
            Value::Bool(truth) => self.primitive(if *truth { head::TRUE } else { head::FALSE }),
            Value::Number(number) => self.number(number, matches!(ty, Some(Type::Double))),
            Value::String(text) => match ty {
                Some(Type::Bytes) => self.base64(text),
                _ => self.string(text),
            },
            Value::Array(items) => {
                self.head(Major::Array, items.len() as u64);
                items.iter().for_each(|item| self.value(item, item_type(ty, item)));
            }
            Value::Object(map) => match ty {
                Some(Type::Map(entries)) => self.entries(map, |_| Some(&entries.value)),
                _ => self.object(map, ty.and_then(object_type)),
            },
        }
    }

    /// An object by its table; where none is given, of the kind that it says it is.
    fn object(&mut self, map: &Map<String, Value>, schema: Option<&ObjectType>) {
        let named = || {
            let text = |field: &str| map.get(field).and_then(Value::as_str);
            builtin().of(text("apiVersion")?, text("kind")?)
        };
        let own = if schema.is_none() { named() } else { None };
        let schema = schema.or(own.as_ref().map(crate::schema::ObjectRef::get));
        self.entries(map, |key| schema.and_then(|schema| schema.field(key)).map(|field| &field.ty));
    }

    /// Keys in the order of their bytes, in which a shorter one comes first.
    fn entries<'t>(&mut self, map: &Map<String, Value>, type_of: impl Fn(&str) -> Option<&'t Type>) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        self.head(Major::Map, entries.len() as u64);
        for (key, value) in entries {
            self.string(key);
            self.value(value, type_of(key));
        }
    }

    fn number(&mut self, number: &Number, is_float: bool) {
        match number.as_i64().filter(|_| !is_float) {
            Some(whole) if whole < 0 => self.head(Major::Negative, !whole as u64),
            Some(whole) => self.head(Major::Positive, whole as u64),
            None => self.float(number.as_f64().unwrap_or_default()),
        }
    }

    /// In as few bits as keep the number.
    fn float(&mut self, float: f64) {
        let single = float as f32;
        if f64::from(single).to_bits() != float.to_bits() {
            self.primitive(head::EIGHT_BYTES);
            self.0.extend_from_slice(&float.to_be_bytes());
        } else if let Some(half) = to_half(single) {
            self.primitive(head::TWO_BYTES);
            self.0.extend_from_slice(&half.to_be_bytes());
        } else {
            self.primitive(head::FOUR_BYTES);
            self.0.extend_from_slice(&single.to_be_bytes());
        }
    }
}

/// The table of a type's objects.
fn object_type(ty: &Type) -> Option<&ObjectType> {
    match ty {
        Type::Object(object)
        | Type::SchemaOrBool(object)
        | Type::SchemaOrArray(object)
        | Type::SchemaOrStrings(object) => Some(object.get()),
        _ => None,
    }
}

/// The type of what stands in a list: of the alternatives a schema has, that of its objects.
fn item_type<'t>(ty: Option<&'t Type>, item: &Value) -> Option<&'t Type> {
    match ty? {
        Type::List(list) => Some(&list.item),
        alternatives @ (Type::SchemaOrArray(_) | Type::SchemaOrStrings(_)) if item.is_object() => Some(alternatives),
        _ => None,
    }
}
