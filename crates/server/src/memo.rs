//! What is derived from a stored entry's bytes for selectors, Tables and those who read CBOR: made once for each entry, kept with it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use orlop_api::Value;
use orlop_api::kind::FieldLabels;
use orlop_api::selector::Selector;
use orlop_api::status::StatusError;
use orlop_api::table::Row;
use orlop_store::Entry;

use crate::custom::Versions;
use crate::wire::raw;

/// Each part is made on first need.
#[derive(Default)]
pub struct Memo {
    labels: OnceLock<BTreeMap<String, String>>,
    fields: OnceLock<Fields>,
    row: OnceLock<Option<Row>>,
    cbor: OnceLock<Bytes>,
    /// The entry in versions that only a webhook can make of it.
    pub versions: Versions,
}

/// Values of a kind's field labels, in the kind's order.
struct Fields {
    /// Whose labels these are: two kinds may share an entry (Event).
    labels: FieldLabels,
    values: Box<[Box<str>]>,
}

impl Memo {
    pub fn of(entry: &Entry) -> Arc<Self> {
        let shared = entry.memo.index.get_or_init(|| Arc::new(Self::default()));
        // The server is the slot's only user.
        shared.clone().downcast().unwrap_or_default()
    }

    pub fn match_labels(&self, selector: &Selector, entry: &Entry) -> bool {
        let labels = self.labels.get_or_init(|| {
            let found = raw::find(&entry.json, &["metadata", "labels"]);
            found.and_then(|range| serde_json::from_slice(&entry.json[range]).ok()).unwrap_or_default()
        });
        selector.matches(labels)
    }

    pub fn match_field(&self, labels: &FieldLabels, at: usize, value: &str, entry: &Entry) -> bool {
        let fields = self.fields.get_or_init(|| Fields { labels: labels.clone(), values: read_fields(labels, entry) });
        if fields.labels.is(labels) {
            return *fields.values[at] == *value;
        }
        *read_fields(labels, entry)[at] == *value
    }

    /// The entry's row in a Table of the version it is stored in; `make` may find that there is none to keep.
    pub fn row(&self, make: impl FnOnce() -> Result<Option<Row>, StatusError>) -> Result<Option<&Row>, StatusError> {
        if let Some(made) = self.row.get() {
            return Ok(made.as_ref());
        }
        let made = make()?;
        Ok(self.row.get_or_init(|| made).as_ref())
    }

    /// The entry in CBOR, in the version it is stored in.
    pub fn cbor(&self, make: impl FnOnce() -> Result<Bytes, StatusError>) -> Result<Bytes, StatusError> {
        if let Some(made) = self.cbor.get() {
            return Ok(made.clone());
        }
        let made = make()?;
        Ok(self.cbor.get_or_init(|| made).clone())
    }
}

fn read_fields(labels: &FieldLabels, entry: &Entry) -> Box<[Box<str>]> {
    let object: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
    labels.iter().map(|label| Box::from(&*label.read(&object))).collect()
}
