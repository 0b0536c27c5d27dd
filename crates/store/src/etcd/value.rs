//! What is stored under a key: the object's JSON with, where its resourceVersion goes, the write's mark.
//!
//! etcd only tells the revision after the write, as a property of the key: every reader puts it in. What
//! stands there meanwhile is nobody's business (upstream overwrites it too), so a write leaves its name
//! there: after a lost reply it can be told from a write of the same object by somebody else. A deletion,
//! which leaves no value, writes its name to a key that all deletions share.

use bytes::Bytes;
use serde::Deserialize;

use crate::{Draft, Revision};

/// The bytes to store, unlike those of any other write.
pub(crate) fn marked(draft: &Draft) -> Bytes {
    fill(&draft.json, draft.hole..draft.hole, &mark())
}

/// A write's name.
pub(crate) fn mark() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// `stored`, or an entry's JSON, with `revision` as resourceVersion.
pub(crate) fn at_revision(json: &Bytes, revision: Revision) -> Result<Bytes, serde_json::Error> {
    let parsed: Object = serde_json::from_slice(json)?;
    match parsed.metadata.resource_version {
        Some(version) => {
            let start = version.as_ptr().addr() - json.as_ptr().addr();
            Ok(fill(json, start..start + version.len(), &revision.to_string()))
        }
        // Written by somebody else, who left the field out.
        None => {
            let Draft { json, hole } = Draft::encode(&serde_json::from_slice(json)?);
            Ok(fill(&json, hole..hole, &revision.to_string()))
        }
    }
}

fn fill(json: &Bytes, hole: std::ops::Range<usize>, text: &str) -> Bytes {
    let mut filled = Vec::with_capacity(json.len() - hole.len() + text.len());
    filled.extend_from_slice(&json[..hole.start]);
    filled.extend_from_slice(text.as_bytes());
    filled.extend_from_slice(&json[hole.end..]);
    filled.into()
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
}

#[derive(Default, Deserialize)]
struct Metadata<'a> {
    /// Borrowed: where it stands is what matters. Digits and marks have no escapes.
    #[serde(borrow, default, rename = "resourceVersion")]
    resource_version: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_takes_the_marks_place() {
        let object = json!({"kind": "A", "involved": {"resourceVersion": ""}, "metadata": {"name": "x"}, "z": 1});
        let draft = Draft::encode(&object);
        let (one, other) = (marked(&draft), marked(&draft));
        assert_ne!(one, other);
        let want =
            br#"{"involved":{"resourceVersion":""},"kind":"A","metadata":{"name":"x","resourceVersion":"77"},"z":1}"#;
        for stored in [one, other, Bytes::from_static(want), Bytes::from(object.to_string())] {
            assert_eq!(at_revision(&stored, 77).unwrap(), &want[..]);
        }
        assert!(at_revision(&Bytes::from_static(b"k8s\0\n"), 1).is_err());
    }
}
