//! Which definitions are served now, and as what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use orlop_api::{Value, custom, meta};
use orlop_store::Revision;
use tokio_util::sync::CancellationToken;

use super::conversion::Conversion;
use super::rules;
use super::status::is_true;
use crate::Server;
use crate::resource::{Custom, Resource, Resources};

/// By definition's name.
#[derive(Default)]
pub struct Definitions {
    served: Mutex<BTreeMap<String, Served>>,
    /// Uids of definitions whose objects are being deleted.
    cleaning: Mutex<BTreeSet<String>>,
}

struct Served {
    uid: String,
    /// What of the definition the kinds were made of.
    source: Value,
    resources: Vec<Resource>,
    /// Ends the watches of what is served otherwise from now on.
    retired: CancellationToken,
}

impl Definitions {
    /// Serves a definition as it is now. Watches of what changed end, and their clients start anew.
    pub fn serve(&self, server: &Server, definition: &Value) {
        let source = source_of(definition);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let name = meta::name(definition);
        let before = served.get(name);
        if before.is_some_and(|before| before.uid == meta::uid(definition) && before.source == source) {
            return;
        }
        let retired = CancellationToken::new();
        // What is stored up to now may have been written under another schema.
        let since: Revision = server.store.revision();
        let kinds = custom::versions(definition, &rules::of_schema);
        let resources: Vec<Resource> = kinds
            .into_iter()
            .map(|(version, kind)| {
                let (retired, conversion) = (retired.clone(), Conversion::read(definition));
                Resource::custom(Arc::new(kind), &version, Custom { since, retired, conversion })
            })
            .collect();
        let entry = Served { uid: meta::uid(definition).to_owned(), source, resources, retired };
        let old = served.insert(name.to_owned(), entry);
        publish(server, &served[name].resources, old.as_ref());
        if let Some(old) = old {
            old.retired.cancel();
        }
    }

    pub fn withdraw(&self, server: &Server, name: &str) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = served.remove(name) {
            publish(server, &[], Some(&old));
            old.retired.cancel();
        }
    }

    /// False when one is under way.
    pub fn begin_cleanup(&self, uid: &str) -> bool {
        self.cleaning.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned())
    }

    pub fn end_cleanup(&self, uid: &str) {
        self.cleaning.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// The spec, the names it got, and whether it is on its way out.
fn source_of(definition: &Value) -> Value {
    let status = &definition["status"];
    serde_json::json!([definition["spec"], status["acceptedNames"], is_true(status, "Terminating")])
}

/// Built-in kinds win over definitions that would hide them; definitions do not meet, as each is named after its place.
fn publish(server: &Server, new: &[Resource], gone: Option<&Served>) {
    let mut resources = Resources::clone(&server.resources.load());
    for resource in gone.into_iter().flat_map(|gone| &gone.resources) {
        resources.remove(resource);
    }
    new.iter().for_each(|resource| resources.add(resource));
    server.resources.store(Arc::new(resources));
}
