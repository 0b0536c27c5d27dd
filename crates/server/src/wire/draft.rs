//! Stored bytes and drafts side by side: what changed, what a version looks like from outside.

use bytes::Bytes;
use orlop_store::Draft;

use super::raw;

/// The draft with `resource_version` in its hole.
pub fn fill(draft: &Draft, resource_version: &str) -> Bytes {
    let mut out = Vec::with_capacity(draft.json.len() + resource_version.len());
    out.extend_from_slice(&draft.json[..draft.hole]);
    out.extend_from_slice(resource_version.as_bytes());
    out.extend_from_slice(&draft.json[draft.hole..]);
    Bytes::from(out)
}

/// Whether storing `draft` over `stored` (at `revision`) would change nothing but the version.
pub fn is_unchanged(draft: &Draft, stored: &[u8], revision: u64) -> bool {
    let digits = revision.checked_ilog10().unwrap_or(0) as usize + 1;
    let (head, tail) = draft.json.split_at(draft.hole);
    stored.len() == draft.json.len() + digits && stored.starts_with(head) && stored.ends_with(tail)
}

/// Stored bytes as a draft of the same object.
pub fn reopen(stored: &Bytes) -> Draft {
    match raw::find(stored, &["metadata", "resourceVersion"]) {
        Some(range) if range.len() >= 2 => {
            let mut json = Vec::with_capacity(stored.len());
            json.extend_from_slice(&stored[..=range.start]);
            json.extend_from_slice(&stored[range.end - 1..]);
            Draft { json: json.into(), hole: range.start + 1 }
        }
        // Only bytes that this server did not write lack the field; the codec puts it in.
        _ => Draft::encode(&serde_json::from_slice(stored).unwrap_or_default()),
    }
}

/// `stored` with another resourceVersion, for events about what an object was.
pub fn with_revision(stored: &Bytes, revision: u64) -> Bytes {
    fill(&reopen(stored), &revision.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drafts_and_stored_bytes_agree() {
        let cases = [
            json!({"kind":"A","metadata":{"name":"x","resourceVersion":"9","uid":"u"},"spec":{"resourceVersion":"1"}}),
            json!({"kind":"A","metadata":{"annotations":{"a":"\"resourceVersion\":\"9\""}}}),
            json!({"kind":"A","metadata":{}}),
            json!({"kind":"A"}),
            json!({}),
        ];
        for object in cases {
            let draft = Draft::encode(&object);
            let stored = fill(&draft, "123");
            assert!(is_unchanged(&draft, &stored, 123));
            assert!(!is_unchanged(&draft, &stored, 1234));
            let reopened = reopen(&stored);
            assert_eq!((&reopened.json, reopened.hole), (&draft.json, draft.hole));
            assert_eq!(with_revision(&stored, 5), fill(&draft, "5"));
        }
        let mut other = json!({"metadata": {"name": "x"}});
        let draft = Draft::encode(&other);
        other["metadata"]["name"] = "y".into();
        assert!(!is_unchanged(&Draft::encode(&other), &fill(&draft, "1"), 1));
    }
}
