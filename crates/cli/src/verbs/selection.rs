//! Which objects a verb is about: flags and words that several verbs share.

use anyhow::{Result, bail};
use clap::Args;
use orlop_client::{Dynamic, ListOptions};
use serde_json::Value;

use crate::manifest::Files;
use crate::resources::{Target, targets};
use crate::session::Session;

/// `-A`, `-l`, `--field-selector`.
#[derive(Args, Clone, Debug, Default)]
pub struct Selectors {
    /// All namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Label query to filter on (a=b,c!=d,e in (f,g))
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// Field query to filter on (metadata.name=x)
    #[arg(long, default_value = "")]
    pub field_selector: String,
}

impl Selectors {
    pub fn options(&self) -> ListOptions {
        ListOptions {
            label_selector: self.selector.clone(),
            field_selector: self.field_selector.clone(),
            ..ListOptions::default()
        }
    }

    /// The namespace to look in; empty: all.
    pub fn namespace<'a>(&self, session: &'a Session) -> &'a str {
        if self.all_namespaces { "" } else { &session.namespace }
    }

    pub fn is_set(&self) -> bool {
        !self.selector.is_empty() || !self.field_selector.is_empty()
    }
}

/// One object with where it is.
#[derive(Clone, Debug)]
pub struct Found {
    pub target: Target,
    pub namespace: String,
    pub object: Value,
}

impl Found {
    pub fn name(&self) -> &str {
        orlop_api::meta::name(&self.object)
    }

    pub fn display(&self) -> String {
        crate::resources::display(&self.target.resource, self.name())
    }

    pub fn api(&self, session: &Session) -> orlop_client::Api<Dynamic> {
        session.api(&self.target.resource, &self.namespace)
    }
}

/// The objects that files name, or words and selectors. `all` lets a type without a name or selector
/// mean everything of it.
pub async fn find(
    session: &Session,
    words: &[String],
    files: &Files,
    selectors: &Selectors,
    all: bool,
) -> Result<Vec<Found>> {
    let catalogue = session.catalogue().await?;
    let mut found = Vec::new();
    if !files.is_empty() {
        for object in files.objects()? {
            let resource = catalogue.of_object(&object)?.clone();
            let name = orlop_api::meta::name(&object).to_owned();
            let namespace = namespace_of(session, &object);
            let object = session.api(&resource, &namespace).get(&name).await?.0;
            found.push(Found { target: Target { resource, name: Some(name) }, namespace, object });
        }
        return Ok(found);
    }
    for target in targets(catalogue, words)? {
        let namespace = selectors.namespace(session).to_owned();
        let api = session.api(&target.resource, &namespace);
        if let Some(name) = &target.name {
            let object = api.get(name).await?.0;
            found.push(Found { target: target.clone(), namespace, object });
            continue;
        }
        if !all && !selectors.is_set() {
            bail!("resource(s) were provided, but no name was specified");
        }
        for object in api.list_all(&selectors.options()).await?.items {
            let namespace = orlop_api::meta::namespace(&object.0).to_owned();
            let mut object = object.0;
            complete(&mut object, &target);
            found.push(Found { target: target.clone(), namespace, object });
        }
    }
    Ok(found)
}

/// Items of lists come without apiVersion and kind.
fn complete(object: &mut Value, target: &Target) {
    if let Value::Object(map) = object {
        map.entry("apiVersion").or_insert_with(|| target.resource.api_version().into());
        map.entry("kind").or_insert_with(|| target.resource.kind.to_string().into());
    }
}

/// A manifest's own namespace, else the session's.
pub fn namespace_of(session: &Session, object: &Value) -> String {
    match orlop_api::meta::namespace(object) {
        "" => session.namespace.clone(),
        namespace => namespace.to_owned(),
    }
}
