//! The paths of a kind and what can be done there, before they are written in either version of OpenAPI.

use std::collections::BTreeMap;

use super::descriptions::Descriptions;
use super::names::{article, capital, group_name, list_schema_name, root, schema_name, tag};
use super::parameters::{Common, Parameter, options};
use super::schemas::{API_RESOURCE_LIST, DELETE_OPTIONS, PATCH, STATUS, WATCH_EVENT};
use crate::kind::{Kind, KindInfo, Subresource};
use crate::schema::builtin;

/// Path -> method -> operation.
pub type Paths = BTreeMap<String, BTreeMap<&'static str, Operation>>;

pub struct Operation {
    pub id: String,
    pub description: String,
    pub tag: String,
    /// `x-kubernetes-action`; empty for operations on no resource.
    pub action: &'static str,
    /// `x-kubernetes-group-version-kind`
    pub kind: Option<GroupVersionKind>,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    pub answer: Answer,
    /// Codes besides 200 with which the same is answered.
    pub also: &'static [u16],
}

#[derive(Clone)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

pub struct Body {
    pub schema: String,
    pub required: bool,
    pub media_types: &'static [&'static str],
}

/// What a success carries.
pub enum Answer {
    Schema(String),
    /// The same, or a stream of watch events.
    Watchable(String),
    /// Whatever a pod or node answers.
    Anything,
    /// Log lines.
    Text,
    /// In this form only: of a type, or text.
    Only(&'static str, Option<String>),
}

const ANY_MEDIA: &[&str] = &["*/*"];
const PATCH_MEDIA: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// Custom resources know no strategic merge.
const CUSTOM_PATCH_MEDIA: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// Adds a kind in one of its versions.
pub fn add(paths: &mut Paths, kind: &dyn Kind, version: &str, common: &Common, descriptions: &Descriptions) {
    Builder { paths, kind, info: kind.info(), version, common, descriptions }.add();
}

/// Adds the list of a group version's resources.
pub fn add_discovery(paths: &mut Paths, group: &str, version: &str) {
    let operation = Operation {
        id: format!("get{}{}APIResources", group_name(group), capital(version)),
        description: "get available resources".to_owned(),
        tag: tag(group, version),
        answer: Answer::Schema(API_RESOURCE_LIST.to_owned()),
        ..Operation::plain()
    };
    paths.entry(format!("{}/", root(group, version))).or_default().insert("get", operation);
}

impl Operation {
    /// On no resource, with nothing to say.
    pub fn plain() -> Self {
        Self {
            id: String::new(),
            description: String::new(),
            tag: String::new(),
            action: "",
            kind: None,
            parameters: Vec::new(),
            body: None,
            answer: Answer::Anything,
            also: &[],
        }
    }
}

struct Builder<'a> {
    paths: &'a mut Paths,
    kind: &'a dyn Kind,
    info: &'a KindInfo,
    version: &'a str,
    common: &'a Common,
    descriptions: &'a Descriptions,
}

impl Builder<'_> {
    fn add(mut self) {
        let root = root(&self.info.group, self.version);
        let plural = &self.info.plural;
        let scope = if self.info.namespaced { "/namespaces/{namespace}" } else { "" };
        self.collection(&format!("{root}{scope}/{plural}"));
        self.item(&format!("{root}{scope}/{plural}/{{name}}"));
        if self.info.namespaced && self.can("list") {
            self.list(&format!("{root}/{plural}"), "ForAllNamespaces");
        }
        if self.can("watch") {
            self.watch(&format!("{root}/watch{scope}/{plural}"), "watchlist", "List");
            self.watch(&format!("{root}/watch{scope}/{plural}/{{name}}"), "watch", "");
            if self.info.namespaced {
                self.watch(&format!("{root}/watch/{plural}"), "watchlist", "ListForAllNamespaces");
            }
        }
        for sub in self.info.subresources.iter() {
            self.subresource(&format!("{root}{scope}/{plural}/{{name}}/{}", sub.name), sub);
        }
    }

    fn collection(&mut self, path: &str) {
        if self.can("list") {
            self.list(path, "");
        }
        if self.can("create") {
            self.create(path, "", &self.own_schema(), self.own_kind());
        }
        if self.can("deletecollection") {
            let mut operation = self.operation(path, "deletecollection", "delete", "Collection", "");
            operation.description = format!("delete collection of {}", self.info.kind);
            operation.parameters.extend(self.common.delete_collection.clone());
            operation.body = Some(Body { schema: DELETE_OPTIONS.into(), required: false, media_types: ANY_MEDIA });
            operation.answer = Answer::Schema(STATUS.into());
            self.put(path, "delete", operation);
        }
    }

    fn item(&mut self, path: &str) {
        let (schema, kind) = (self.own_schema(), self.own_kind());
        if self.can("get") {
            self.read(path, "", &schema, kind.clone());
        }
        if self.can("update") {
            self.replace(path, "", &schema, kind.clone());
        }
        if self.can("patch") {
            self.patch(path, "", &schema, kind);
        }
        if self.can("delete") {
            let mut operation = self.operation(path, "delete", "delete", "", "");
            operation.description = format!("delete {} {}", article(&self.info.kind), self.info.kind);
            operation.parameters.extend(self.common.delete.clone());
            operation.body = Some(Body { schema: DELETE_OPTIONS.into(), required: false, media_types: ANY_MEDIA });
            operation.answer = Answer::Schema(if self.kind.publishes_deleted() { schema } else { STATUS.into() });
            operation.also = &[202];
            self.put(path, "delete", operation);
        }
    }

    fn subresource(&mut self, path: &str, sub: &Subresource) {
        let suffix = capital(&sub.name);
        let kind = self.kind_of(sub);
        if sub.kind.ends_with("Options") {
            self.connect(path, sub, &suffix);
            return;
        }
        let api_version =
            if kind.group.is_empty() { kind.version.clone() } else { format!("{}/{}", kind.group, kind.version) };
        let schema =
            builtin().of(&api_version, &sub.kind).map_or_else(|| self.own_schema(), |ty| ty.get().name.clone());
        for verb in sub.verbs.iter() {
            match &**verb {
                "get" if sub.name == "log" => self.log(path),
                "get" => self.read(path, &suffix, &schema, kind.clone()),
                "update" => self.replace(path, &suffix, &schema, kind.clone()),
                "patch" => self.patch(path, &suffix, &schema, kind.clone()),
                "create" => self.create(path, &suffix, &schema, kind.clone()),
                _ => {}
            }
        }
    }

    fn list(&mut self, path: &str, suffix: &str) {
        let mut operation = self.operation(path, "list", "list", "", suffix);
        operation.description = format!("list or watch objects of kind {}", self.info.kind);
        operation.parameters.extend(self.common.list.clone());
        operation.answer = Answer::Watchable(list_schema_name(self.kind, self.version));
        self.put(path, "get", operation);
    }

    fn watch(&mut self, path: &str, action: &'static str, suffix: &str) {
        let mut operation = self.operation(path, action, "watch", "", suffix);
        operation.description = format!(
            "watch changes of {}. deprecated: use the 'watch' parameter with a list operation instead.",
            self.info.kind
        );
        operation.parameters.extend(self.common.list.clone());
        operation.answer = Answer::Watchable(WATCH_EVENT.into());
        self.put(path, "get", operation);
    }

    fn create(&mut self, path: &str, suffix: &str, schema: &str, kind: GroupVersionKind) {
        let mut operation = self.operation(path, "post", "create", "", suffix);
        operation.description = self.described("create", suffix, &kind);
        operation.parameters.extend(self.common.write.clone());
        operation.body = Some(Body { schema: schema.into(), required: true, media_types: ANY_MEDIA });
        operation.answer = Answer::Schema(schema.into());
        operation.also = &[201, 202];
        self.name_as(path, &mut operation, kind);
        self.put(path, "post", operation);
    }

    fn read(&mut self, path: &str, suffix: &str, schema: &str, kind: GroupVersionKind) {
        let mut operation = self.operation(path, "get", "read", "", suffix);
        operation.description = self.described("read", suffix, &kind);
        operation.answer = Answer::Schema(schema.into());
        self.name_as(path, &mut operation, kind);
        self.put(path, "get", operation);
    }

    fn replace(&mut self, path: &str, suffix: &str, schema: &str, kind: GroupVersionKind) {
        let mut operation = self.operation(path, "put", "replace", "", suffix);
        operation.description = self.described("replace", suffix, &kind);
        operation.parameters.extend(self.common.write.clone());
        operation.body = Some(Body { schema: schema.into(), required: true, media_types: ANY_MEDIA });
        operation.answer = Answer::Schema(schema.into());
        operation.also = &[201];
        self.name_as(path, &mut operation, kind);
        self.put(path, "put", operation);
    }

    fn patch(&mut self, path: &str, suffix: &str, schema: &str, kind: GroupVersionKind) {
        let custom = builtin().named(&self.own_schema()).is_none();
        let media_types = if custom { CUSTOM_PATCH_MEDIA } else { PATCH_MEDIA };
        let mut operation = self.operation(path, "patch", "patch", "", suffix);
        operation.description = self.described("partially update", suffix, &kind);
        operation.parameters.extend(self.common.patch.clone());
        operation.body = Some(Body { schema: PATCH.into(), required: true, media_types });
        operation.answer = Answer::Schema(schema.into());
        operation.also = &[201];
        self.name_as(path, &mut operation, kind);
        self.put(path, "patch", operation);
    }

    fn log(&mut self, path: &str) {
        let mut operation = self.operation(path, "get", "read", "", "Log");
        operation.description = format!("read log of the specified {}", self.info.kind);
        operation.parameters.extend(options("v1", "PodLogOptions", self.descriptions));
        operation.answer = Answer::Text;
        self.put(path, "get", operation);
    }

    /// Streams and proxies: every method their verbs stand for, proxies also with a path of their own.
    fn connect(&mut self, path: &str, sub: &Subresource, suffix: &str) {
        let methods: &[&str] = if sub.name == "proxy" {
            &["delete", "get", "head", "options", "patch", "post", "put"]
        } else {
            &["get", "post"]
        };
        let tails = if sub.name == "proxy" { &["", "WithPath"][..] } else { &[""] };
        for tail in tails {
            let path = if tail.is_empty() { path.to_owned() } else { format!("{path}/{{path}}") };
            for &method in methods {
                let verb = format!("connect{}", self.group_and_version());
                let mut operation = self.operation(&path, "connect", "connect", "", "");
                operation.id = format!("{verb}{}{}{}{suffix}{tail}", capital(method), scope(&path), self.info.kind);
                operation.description =
                    format!("connect {} requests to {} of {}", method.to_uppercase(), sub.name, self.info.kind);
                operation.parameters = self.path_parameters(&path, &sub.kind);
                operation.parameters.extend(options("v1", &sub.kind, self.descriptions));
                operation.answer = Answer::Anything;
                operation.kind = Some(self.kind_of(sub));
                self.put(&path, method, operation);
            }
        }
    }

    fn operation(&self, path: &str, action: &'static str, verb: &str, infix: &str, suffix: &str) -> Operation {
        let mut parameters = self.path_parameters(path, &self.info.kind);
        parameters.push(self.common.pretty.clone());
        let names = (self.group_and_version(), scope(path), &self.info.kind);
        Operation {
            id: format!("{verb}{}{infix}{}{}{suffix}", names.0, names.1, names.2),
            description: String::new(),
            tag: tag(&self.info.group, self.version),
            action,
            kind: Some(self.own_kind()),
            parameters,
            body: None,
            answer: Answer::Anything,
            also: &[],
        }
    }

    /// A subresource's body has a kind of its own, which is also what `{name}` is said to name.
    fn name_as(&self, path: &str, operation: &mut Operation, kind: GroupVersionKind) {
        let own: Vec<Parameter> = self.path_parameters(path, &self.info.kind);
        operation.parameters.retain(|p| !own.contains(p));
        operation.parameters.extend(self.path_parameters(path, &kind.kind));
        operation.kind = Some(kind);
    }

    fn path_parameters(&self, path: &str, named: &str) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if path.contains("{name}") {
            parameters.push(Parameter::path("name", format!("name of the {named}")));
        }
        if path.contains("{namespace}") {
            parameters.push(self.common.namespace.clone());
        }
        if path.contains("{path}") {
            parameters.push(Parameter::path("path", "path to the resource"));
        }
        parameters
    }

    fn described(&self, verb: &str, suffix: &str, kind: &GroupVersionKind) -> String {
        let specified = if verb == "create" { article(&kind.kind) } else { "the specified" };
        match suffix {
            "" => format!("{verb} {specified} {}", self.info.kind),
            _ => format!("{verb} {} of {specified} {}", suffix.to_lowercase(), self.info.kind),
        }
    }

    fn put(&mut self, path: &str, method: &'static str, mut operation: Operation) {
        operation.parameters.sort();
        self.paths.entry(path.to_owned()).or_default().insert(method, operation);
    }

    fn can(&self, verb: &str) -> bool {
        self.info.verbs.iter().any(|v| v == verb)
    }

    fn own_schema(&self) -> String {
        schema_name(self.kind, self.version)
    }

    fn own_kind(&self) -> GroupVersionKind {
        let (group, version) = (self.info.group.to_string(), self.version.to_owned());
        GroupVersionKind { group, version, kind: self.info.kind.to_string() }
    }

    fn kind_of(&self, sub: &Subresource) -> GroupVersionKind {
        let (group, version) = match &*sub.version {
            "" => (self.info.group.to_string(), self.version.to_owned()),
            version => (sub.group.to_string(), version.to_owned()),
        };
        GroupVersionKind { group, version, kind: sub.kind.to_string() }
    }

    fn group_and_version(&self) -> String {
        format!("{}{}", group_name(&self.info.group), capital(self.version))
    }
}

/// Whether an operation belongs to a resource of its own schema, for `Schemas::add`.
pub fn schemas_of(operation: &Operation) -> impl Iterator<Item = &str> {
    let answer = match &operation.answer {
        Answer::Schema(name) | Answer::Watchable(name) => Some(name.as_str()),
        Answer::Only(_, name) => name.as_deref(),
        Answer::Anything | Answer::Text => None,
    };
    answer.into_iter().chain(operation.body.as_ref().map(|b| b.schema.as_str()))
}

/// Parameters that all operations of a path have: they are written once, on the path.
pub fn shared_parameters(operations: &BTreeMap<&'static str, Operation>) -> Vec<Parameter> {
    let mut operations = operations.values();
    let Some(first) = operations.next() else { return Vec::new() };
    operations.fold(first.parameters.clone(), |mut shared, operation| {
        shared.retain(|p| operation.parameters.contains(p));
        shared
    })
}

fn scope(path: &str) -> &'static str {
    if path.contains("{namespace}") { "Namespaced" } else { "" }
}
