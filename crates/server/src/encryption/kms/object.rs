//! `v2.EncryptedObject`: what is kept of an object.

use std::collections::BTreeMap;

use bytes::Bytes;
use orlop_api::field::{ErrorList, Path};
use orlop_api::object_meta::check_domain_name;
use orlop_base::protobuf::{Malformed, Message, read};
use ring::digest::{Context, SHA256};

const MAX_ANNOTATIONS_BYTES: usize = 32 << 10;
const MAX_KEY_ID_BYTES: usize = 1 << 10;
const MAX_SOURCE_BYTES: usize = 1 << 10;

/// `EncryptedDEKSourceType`: the source is the key itself, or a seed that keys are derived from.
const KEY: u64 = 0;
const SEED: u64 = 1;

pub type Annotations = BTreeMap<String, Bytes>;

pub struct EncryptedObject {
    pub data: Bytes,
    pub source: Source,
}

/// A key or seed as the plugin encrypted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Names the plugin's key.
    pub key_id: String,
    pub encrypted: Bytes,
    pub annotations: Annotations,
    /// Whether it is a seed.
    pub derived: bool,
}

impl EncryptedObject {
    pub fn decode(bytes: &Bytes) -> Result<Self, String> {
        let mut object = Self { data: Bytes::new(), source: Source::default() };
        let mut kind = KEY;
        let source = &mut object.source;
        read(bytes, |number, value| {
            match number {
                1 => object.data = value.bytes()?,
                2 => source.key_id = text(&value.bytes()?)?,
                3 => source.encrypted = value.bytes()?,
                4 => annotation(&value.bytes()?, &mut source.annotations)?,
                5 => kind = value.int()?,
                _ => {}
            }
            Ok(())
        })
        .map_err(|malformed| format!("proto: {malformed}"))?;
        if kind > SEED {
            return Err(format!("unknown encryptedDEKSourceType: {kind}"));
        }
        source.derived = kind == SEED;
        if object.data.is_empty() {
            return Err("encrypted data is empty".into());
        }
        object.source.check()?;
        Ok(object)
    }
}

impl Source {
    /// With an object that was sealed by what this is the source of.
    pub fn encode(&self, data: &[u8]) -> Vec<u8> {
        let mut message = Message::default().bytes(1, data).bytes(2, self.key_id.as_bytes()).bytes(3, &self.encrypted);
        for (name, value) in &self.annotations {
            message = message.message(4, entry(name, value));
        }
        let kind = if self.derived { SEED } else { KEY };
        message.int(5, kind).as_bytes().to_vec()
    }

    pub fn check(&self) -> Result<(), String> {
        let size = self.encrypted.len();
        if size == 0 {
            return Err("failed to validate encrypted DEK source: encrypted DEK source is empty".into());
        }
        if size > MAX_SOURCE_BYTES {
            return Err(format!(
                "failed to validate encrypted DEK source: encrypted DEK source is {size} bytes, which exceeds the max \
                 size of {MAX_SOURCE_BYTES}"
            ));
        }
        check_key_id(&self.key_id).map_err(|(_, why)| format!("failed to validate key id: {why}"))?;
        check_annotations(&self.annotations).map_err(|why| format!("failed to validate annotations: {why}"))
    }

    /// What tells it from every other.
    pub fn cache_key(&self) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(&[u8::from(self.derived)]);
        part(&self.encrypted);
        part(self.key_id.as_bytes());
        for (name, value) in &self.annotations {
            part(name.as_bytes());
            part(value);
        }
        hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// The error's name in metrics, and its words.
pub fn check_key_id(key_id: &str) -> Result<(), (&'static str, String)> {
    match key_id.len() {
        0 => Err(("empty", "keyID is empty".into())),
        size if size > MAX_KEY_ID_BYTES => {
            Err(("too_long", format!("keyID is {size} bytes, which exceeds the max size of {MAX_KEY_ID_BYTES}")))
        }
        _ => Ok(()),
    }
}

fn check_annotations(annotations: &Annotations) -> Result<(), String> {
    let mut failures = Vec::new();
    for name in annotations.keys() {
        let mut errors = ErrorList::default();
        check_domain_name(name, &Path::new("annotations"), &mut errors);
        if !errors.is_empty() {
            failures.push(errors.aggregate());
        }
    }
    let size: usize = annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_ANNOTATIONS_BYTES {
        failures.push(format!(
            "total size of annotations is {size}, which exceeds the max size of {MAX_ANNOTATIONS_BYTES}"
        ));
    }
    if failures.is_empty() { Ok(()) } else { Err(super::super::provider::aggregate(&failures)) }
}

/// An entry of a map.
pub fn entry(name: &str, value: &[u8]) -> Message {
    Message::default().bytes(1, name.as_bytes()).bytes(2, value)
}

pub fn annotation(bytes: &Bytes, annotations: &mut Annotations) -> Result<(), Malformed> {
    let (mut name, mut content) = (String::new(), Bytes::new());
    read(bytes, |number, value| {
        match number {
            1 => name = text(&value.bytes()?)?,
            2 => content = value.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    annotations.insert(name, content);
    Ok(())
}

pub fn text(bytes: &[u8]) -> Result<String, Malformed> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            key_id: "1".into(),
            encrypted: Bytes::from_static(b"sealed"),
            annotations: [("kms.example.com".to_owned(), Bytes::from_static(b"x"))].into(),
            derived: true,
        }
    }

    #[test]
    fn the_layout_is_upstreams() {
        let bytes = source().encode(b"data");
        assert_eq!(bytes, b"\x0a\x04data\x12\x011\x1a\x06sealed\x22\x14\x0a\x0fkms.example.com\x12\x01x\x28\x01");
        let object = EncryptedObject::decode(&bytes.into()).expect("an object");
        assert_eq!((&*object.data, object.source), (&b"data"[..], source()));
    }

    #[test]
    fn bad_objects_are_refused_in_upstreams_words() {
        let decode = |source: Source, data: &[u8]| EncryptedObject::decode(&source.encode(data).into()).err();
        for (source, data, want) in [
            (source(), &b""[..], "encrypted data is empty"),
            (Source { key_id: String::new(), ..source() }, b"x", "failed to validate key id: keyID is empty"),
            (
                Source { encrypted: Bytes::new(), ..source() },
                b"x",
                "failed to validate encrypted DEK source: encrypted DEK source is empty",
            ),
            (
                Source { annotations: [("kms".to_owned(), Bytes::new())].into(), ..source() },
                b"x",
                "failed to validate annotations: annotations: Invalid value: \"kms\": should be a domain with at least \
                 two segments separated by dots",
            ),
        ] {
            assert_eq!(decode(source, data).as_deref(), Some(want));
        }
    }
}
