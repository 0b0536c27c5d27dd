//! What types and fields are for, in upstream's words. See `build.rs` for where they come from.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

/// Deflated records `type␟description␟(field␟description␟)*␞`.
const TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.bin"));

/// Unpacked for as long as documents are being built.
#[derive(Default)]
pub struct Descriptions {
    text: String,
    /// Type name -> where its record stands in `text`.
    records: BTreeMap<String, std::ops::Range<usize>>,
}

impl Descriptions {
    pub fn load() -> Self {
        let mut text = String::new();
        if let Err(error) = flate2::read::DeflateDecoder::new(TABLE).read_to_string(&mut text) {
            tracing::warn!(%error, "unpacking the descriptions of types failed; documents go without");
            return Self::default();
        }
        let mut records = BTreeMap::new();
        let mut start = 0;
        for record in text.split_inclusive('\u{1e}') {
            let name = record.split('\u{1f}').next().unwrap_or_default();
            records.insert(name.to_owned(), start..start + record.len());
            start += record.len();
        }
        Self { text, records }
    }

    pub fn of_type(&self, name: &str) -> Option<&str> {
        self.parts(name)?.nth(1).filter(|d| !d.is_empty())
    }

    pub fn of_field(&self, ty: &str, field: &str) -> Option<&str> {
        if let Some(words) = own_words(ty, field) {
            return Some(words);
        }
        let mut fields = self.parts(ty)?.skip(2);
        while let Some(name) = fields.next() {
            let description = fields.next()?;
            if name == field {
                return Some(description);
            }
        }
        common_field(field)
    }

    fn parts(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        let record = self.records.get(name).map_or("", |range| &self.text[range.clone()]);
        Some(record.split('\u{1f}')).filter(|_| !record.is_empty())
    }
}

/// What a field of `metadata` is for: the words under which tables show names and ages.
pub fn of_metadata(field: &str) -> &'static str {
    static WORDS: LazyLock<[String; 2]> = LazyLock::new(|| {
        let all = Descriptions::load();
        let ty = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        ["name", "creationTimestamp"].map(|field| all.of_field(ty, field).unwrap_or_default().to_owned())
    });
    match field {
        "name" => &WORDS[0],
        "creationTimestamp" => &WORDS[1],
        _ => "",
    }
}

/// Upstream's conformance suite looks for the first two words.
pub const API_VERSION: &str = "APIVersion defines the group and the version of the schema in which this is written.";
pub const KIND: &str = "The type of object that this is.";

/// Fields of types that `k8s-openapi` does not have.
fn own_words(ty: &str, field: &str) -> Option<&'static str> {
    Some(match (ty.strip_prefix("io.k8s.apimachinery.pkg.apis.meta.v1.")?, field) {
        ("WatchEvent", "object") => {
            "The object as it is after the change, or as it was before it was deleted. Of a bookmark only the revision; of an \
             error a Status."
        }
        ("ListOptions", "allowWatchBookmarks") => {
            "Whether a watch may have events that say only which revision it has got to."
        }
        ("ListOptions", "continue") => "From the metadata of a list that was cut short by `limit`: where to go on.",
        ("ListOptions", "fieldSelector") => "Only objects with these values in fields, as `metadata.name=a`.",
        ("ListOptions", "labelSelector") => "Only objects with these labels, as `app=a,tier!=b`.",
        ("ListOptions", "limit") => "The most objects of one answer; the rest is had with `continue`.",
        ("ListOptions", "resourceVersion") => "The revision to read at or to watch from.",
        ("ListOptions", "resourceVersionMatch") => {
            "`NotOlderThan` or `Exact`: how `resourceVersion` is meant in a list."
        }
        ("ListOptions", "sendInitialEvents") => "Whether a watch begins with an event for every object there is.",
        ("ListOptions", "shardSelector") => "Only objects of this share of all.",
        ("ListOptions", "timeoutSeconds") => "After how many seconds the request ends, whatever it does.",
        ("ListOptions", "watch") => "Answer with a stream of changes in place of a list.",
        ("CreateOptions" | "UpdateOptions" | "PatchOptions" | "DeleteOptions", "dryRun") => {
            "`All`: go through everything but storing."
        }
        ("CreateOptions" | "UpdateOptions" | "PatchOptions", "fieldManager") => {
            "Under which name the changed fields are noted in managedFields."
        }
        ("CreateOptions" | "UpdateOptions" | "PatchOptions", "fieldValidation") => {
            "`Ignore`, `Warn` or `Strict`: what to do about unknown and repeated fields."
        }
        ("PatchOptions", "force") => "Take fields over from other managers when applying.",
        _ => return None,
    })
}

/// Fields that `k8s-openapi` has for all kinds in one place, without words of its own.
fn common_field(field: &str) -> Option<&'static str> {
    Some(match field {
        "apiVersion" => API_VERSION,
        "kind" => KIND,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Descriptions;

    #[test]
    fn knows_types_and_fields() {
        let descriptions = Descriptions::load();
        let pod = descriptions.of_type("io.k8s.api.core.v1.Pod").unwrap();
        assert!(pod.starts_with("Pod is a collection of containers"), "{pod}");
        let port = descriptions.of_field("io.k8s.api.core.v1.ServicePort", "targetPort").unwrap();
        assert!(port.starts_with("Number or name of the port"), "{port}");
        let volume = descriptions.of_field("io.k8s.api.core.v1.Volume", "emptyDir").unwrap();
        assert!(volume.contains("temporary directory"), "{volume}");
        assert_eq!(descriptions.of_field("io.k8s.api.core.v1.Pod", "nothing"), None);
        assert_eq!(descriptions.of_type("Nothing"), None);
        assert!(super::of_metadata("name").starts_with("Name must be unique within a namespace."));
        assert!(super::of_metadata("creationTimestamp").starts_with("CreationTimestamp is a timestamp"));
    }
}
