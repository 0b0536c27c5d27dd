//! From a draft to the bytes of an entry.

use bytes::Bytes;
use serde_json::Value;

use crate::{Draft, Revision};

impl Draft {
    /// Encodes `object` with the hole at `metadata.resourceVersion`, whatever stood there.
    ///
    /// An object without `metadata` gets one.
    pub fn encode(object: &Value) -> Draft {
        let mut out = Writer::default();
        let empty = serde_json::Map::new();
        let fields = object.as_object().unwrap_or(&empty);
        out.object(fields, "metadata", |out, metadata| {
            let empty = serde_json::Map::new();
            let metadata = metadata.and_then(Value::as_object).unwrap_or(&empty);
            out.object(metadata, "resourceVersion", |out, _| {
                out.json.push(b'"');
                out.hole = out.json.len();
                out.json.push(b'"');
            });
        });
        Draft { json: Bytes::from(out.json), hole: out.hole }
    }
}

#[derive(Default)]
struct Writer {
    json: Vec<u8>,
    hole: usize,
}

impl Writer {
    /// Writes `fields` in order, with `special` at its place, present or not, written by `write`.
    fn object(
        &mut self,
        fields: &serde_json::Map<String, Value>,
        special: &str,
        write: impl FnOnce(&mut Writer, Option<&Value>),
    ) {
        let mut write = Some(write);
        self.json.push(b'{');
        let mut first = true;
        for (name, value) in fields {
            if name.as_str() >= special
                && let Some(write) = write.take()
            {
                self.name(special, &mut first);
                write(self, fields.get(special));
            }
            if name != special {
                self.name(name, &mut first);
                self.value(value);
            }
        }
        if let Some(write) = write.take() {
            self.name(special, &mut first);
            write(self, None);
        }
        self.json.push(b'}');
    }

    fn name(&mut self, name: &str, first: &mut bool) {
        if !std::mem::take(first) {
            self.json.push(b',');
        }
        serde_json::to_writer(&mut self.json, name).expect("a string always encodes, a Vec always takes it");
        self.json.push(b':');
    }

    fn value(&mut self, value: &Value) {
        serde_json::to_writer(&mut self.json, value).expect("a Value always encodes, a Vec always takes it");
    }
}

/// An entry's bytes up to the hole, with room for the rest.
///
/// The copy and the allocation happen before the writers' lock is taken; [`Filling::finish`], under
/// the lock, only adds the digits and the tail.
pub(crate) struct Filling {
    bytes: Vec<u8>,
    tail: Bytes,
}

impl Filling {
    /// `near` guesses the revision: when it has as many digits, nothing is allocated twice.
    pub fn new(mut draft: Draft, near: Revision) -> Filling {
        let tail = draft.json.split_off(draft.hole);
        let mut bytes = Vec::with_capacity(draft.json.len() + Digits::of(near).as_bytes().len() + tail.len());
        bytes.extend_from_slice(&draft.json);
        Filling { bytes, tail }
    }

    pub fn finish(mut self, revision: Revision) -> Bytes {
        self.bytes.extend_from_slice(Digits::of(revision).as_bytes());
        self.bytes.extend_from_slice(&self.tail);
        Bytes::from(self.bytes)
    }
}

/// A revision in decimal, on the stack.
struct Digits {
    /// u64::MAX has 20 digits.
    buffer: [u8; 20],
    start: usize,
}

impl Digits {
    fn of(mut revision: Revision) -> Digits {
        let mut digits = Digits { buffer: [b'0'; 20], start: 20 };
        loop {
            digits.start -= 1;
            digits.buffer[digits.start] = b'0' + (revision % 10) as u8;
            revision /= 10;
            if revision == 0 {
                return digits;
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(object: &Value, revision: Revision) -> Value {
        let bytes = Filling::new(Draft::encode(object), 1).finish(revision);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_hole_is_at_the_resource_version() {
        let cases = [
            json!({"kind": "A", "metadata": {"name": "x", "resourceVersion": "7", "uid": "u"}, "spec": {}}),
            json!({"kind": "A", "metadata": {"name": "x", "uid": "u"}}),
            json!({"metadata": {}}),
            json!({"kind": "A", "zzz": 1}),
            json!({}),
            json!({"a": {"resourceVersion": ""}, "metadata": {"annotations": {"n": "\"resourceVersion\":\"\""}}}),
        ];
        for object in cases {
            for revision in [1, 9, 10, 12345, u64::MAX] {
                let mut want = object.clone();
                want.as_object_mut().unwrap().entry("metadata").or_insert(json!({}))["resourceVersion"] =
                    json!(revision.to_string());
                assert_eq!(filled(&object, revision), want);
            }
        }
    }

    #[test]
    fn field_order_is_the_sorted_one() {
        let draft = Draft::encode(&json!({"kind": "A", "metadata": {"uid": "u", "name": "n"}, "a": 1}));
        let bytes = Filling::new(draft, 5).finish(5);
        assert_eq!(&bytes[..], br#"{"a":1,"kind":"A","metadata":{"name":"n","resourceVersion":"5","uid":"u"}}"#);
    }

    #[test]
    fn bytes_are_allocated_exactly() {
        let draft = Draft::encode(&json!({"metadata": {"name": "n"}}));
        let filling = Filling::new(draft, 999);
        let capacity = filling.bytes.capacity();
        assert_eq!(filling.finish(998).len(), capacity);
    }
}
