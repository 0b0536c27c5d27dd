//! What an expression may refer to: variables, types and functions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::check::{Checked, check};
use crate::decl::DeclType;
use crate::decls::{self, Function};
use crate::parser::parse;
use crate::source::{Issues, Source};
use crate::types::Type;
use crate::value::{Result, Value, fail};

/// Object types that stand outside of any schema.
pub trait Types: Send + Sync {
    fn has(&self, name: &str) -> bool;
    fn field(&self, object: &str, field: &str) -> Option<Type>;
    /// `Name{field: value}`; the default refuses.
    fn check_object(&self, name: &str, _fields: &[(Arc<str>, Value<'_>)]) -> Result<()> {
        fail(format!("unknown type: {name}"))
    }
}

#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<Arc<str>, Type>,
    /// Declarations of variables that have one: sizes for the estimator.
    roots: BTreeMap<Arc<str>, Arc<DeclType>>,
    /// Fields that are made one by one, under their full names: `variables.name`.
    fields: BTreeMap<Arc<str>, Type>,
    objects: HashMap<Arc<str>, Arc<DeclType>>,
    types: Vec<Arc<dyn Types>>,
    json_patch: bool,
}

/// Types that can be named in an expression.
const NAMED: [&str; 15] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "null",
    "string",
    "timestamp",
    "type",
    "uint",
    "list(dyn)",
    "map(dyn, dyn)",
    "optional_type(dyn)",
    "net.IP",
    "net.CIDR",
];

impl Env {
    /// Kubernetes' functions, no variables.
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with_variable(mut self, name: &str, t: Type) -> Self {
        self.variables.insert(name.into(), t);
        self
    }

    /// A variable whose type a schema declares, with every object type within.
    #[must_use]
    pub fn with_declared(mut self, name: &str, decl: Arc<DeclType>) -> Self {
        let mut objects = Vec::new();
        decl.objects(&mut objects);
        self.objects.extend(objects);
        self.variables.insert(name.into(), decl.cel.clone().unwrap_or(Type::Dyn));
        self.roots.insert(name.into(), decl);
        self
    }

    /// A field of an object that is made field by field: evaluation asks for `object.field`.
    #[must_use]
    pub fn with_field_variable(mut self, object: &str, field: &str, t: Type) -> Self {
        self.fields.insert(format!("{object}.{field}").into(), t);
        self
    }

    #[must_use]
    pub fn with_types(mut self, types: Arc<dyn Types>) -> Self {
        self.types.push(types);
        self
    }

    /// `jsonpatch.escapeKey`, which only mutations have.
    #[must_use]
    pub fn with_json_patch(mut self) -> Self {
        self.json_patch = true;
        self
    }

    /// Reads and checks an expression.
    pub fn compile(&self, text: &str) -> Result<Checked, Issues> {
        let source = Source::new(text);
        check(parse(&source)?, &source, self)
    }

    pub fn variable(&self, name: &str) -> Option<(&Arc<str>, &Type)> {
        self.variables.get_key_value(name)
    }

    pub fn field_variable(&self, name: &str) -> Option<(&Arc<str>, &Type)> {
        self.fields.get_key_value(name)
    }

    pub fn root(&self, name: &str) -> Option<&Arc<DeclType>> {
        self.roots.get(name)
    }

    pub fn function(&self, name: &str) -> Option<&'static Function> {
        decls::function(name).filter(|_| self.json_patch || name != "jsonpatch.escapeKey")
    }

    pub fn named_type(&self, name: &str) -> Option<Type> {
        let known = |text: &&&str| Type::parse(text).runtime_name() == name;
        if let Some(text) = NAMED.iter().find(known) {
            return Some(Type::parse(text));
        }
        self.has_struct(name).then(|| Type::object(name))
    }

    pub fn has_struct(&self, name: &str) -> bool {
        self.objects.contains_key(name) || self.types.iter().any(|types| types.has(name))
    }

    pub fn field_type(&self, object: &str, field: &str) -> Option<Type> {
        match self.objects.get(object) {
            Some(decl) => decl.field(field).and_then(|field| field.cel.clone()),
            None => self.types.iter().find(|types| types.has(object)).and_then(|types| types.field(object, field)),
        }
    }

    pub fn types(&self) -> &[Arc<dyn Types>] {
        &self.types
    }
}
