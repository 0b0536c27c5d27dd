//! `authorizer`: what a user may do, asked from within an expression.

use std::sync::Arc;

use orlop_base::names;

use super::strings::text;
use crate::decls::Op;
use crate::value::{Result, Text, Value, fail, no_overload};

/// Who answers.
pub trait Authorizer: Sync {
    fn check(&self, question: &Question) -> Decision;
}

/// May `user` do `verb`?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The ServiceAccount asked about; otherwise whoever sent the request.
    pub service_account: Option<(String, String)>,
    pub verb: String,
    /// A path that is no resource; if set, all that follows is empty.
    pub path: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// Steps on the way from `authorizer` to a decision.
#[derive(Clone)]
pub enum Authz<'a> {
    Authorizer(Asker<'a>),
    Path(Asker<'a>),
    Group(Asker<'a>),
    Resource(Asker<'a>),
    Decision(Decision),
}

/// The question so far, and whom to ask.
#[derive(Clone)]
pub struct Asker<'a> {
    authorizer: &'a dyn Authorizer,
    question: Question,
}

impl<'a> Authz<'a> {
    /// The variable `authorizer`.
    pub fn value(authorizer: &'a dyn Authorizer) -> Value<'a> {
        Value::Authz(Arc::new(Self::Authorizer(Asker { authorizer, question: Question::default() })))
    }

    /// The variable `authorizer.requestResource`.
    pub fn request_resource(authorizer: &'a dyn Authorizer, question: Question) -> Value<'a> {
        Value::Authz(Arc::new(Self::Resource(Asker { authorizer, question })))
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::Path(_) => "kubernetes.authorization.PathCheck",
            Self::Group(_) => "kubernetes.authorization.GroupCheck",
            Self::Resource(_) => "kubernetes.authorization.ResourceCheck",
            Self::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
}

pub fn op(_function: &str, overload: &str) -> Option<Op> {
    Some(match overload {
        "authorizer_path" => |_, args| path(args),
        "authorizer_group" => |_, args| {
            let Authz::Authorizer(asker) = authz(&args[0])? else { return no_overload() };
            let group = text(&args[1])?.to_owned();
            Ok(with(Authz::Group, asker, |question| question.group = group))
        },
        "authorizer_serviceaccount" => |_, args| service_account(args),
        "groupcheck_resource" => |_, args| resource(args),
        "resourcecheck_subresource" => |_, args| set(args, |question, value| question.subresource = value),
        "resourcecheck_namespace" => |_, args| set(args, |question, value| question.namespace = value),
        "resourcecheck_name" => |_, args| set(args, |question, value| question.name = value),
        "authorizer_fieldselector" => |_, args| set(args, |question, value| question.field_selector = value),
        "authorizer_labelselector" => |_, args| set(args, |question, value| question.label_selector = value),
        "pathcheck_check" | "resourcecheck_check" => |_, args| check(args),
        "decision_allowed" => |_, args| Ok(Value::Bool(decision(&args[0])?.allowed)),
        "decision_reason" => |_, args| Ok(Value::string(decision(&args[0])?.reason.clone())),
        "decision_errored" => |_, args| Ok(Value::Bool(decision(&args[0])?.error.is_some())),
        "decision_error" => {
            |_, args| Ok(Value::string(Text::from(decision(&args[0])?.error.clone().unwrap_or_default())))
        }
        _ => return None,
    })
}

fn authz<'v, 'a>(value: &'v Value<'a>) -> Result<&'v Authz<'a>> {
    match value {
        Value::Authz(authz) => Ok(authz),
        _ => no_overload(),
    }
}

fn decision<'v>(value: &'v Value<'_>) -> Result<&'v Decision> {
    match authz(value)? {
        Authz::Decision(decision) => Ok(decision),
        _ => no_overload(),
    }
}

fn with<'a>(step: fn(Asker<'a>) -> Authz<'a>, asker: &Asker<'a>, change: impl FnOnce(&mut Question)) -> Value<'a> {
    let mut asker = asker.clone();
    change(&mut asker.question);
    Value::Authz(Arc::new(step(asker)))
}

fn path<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let Authz::Authorizer(asker) = authz(&args[0])? else { return no_overload() };
    let path = text(&args[1])?.to_owned();
    if path.trim().is_empty() {
        return fail("path must not be empty");
    }
    Ok(with(Authz::Path, asker, |question| question.path = path))
}

fn service_account<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let Authz::Authorizer(asker) = authz(&args[0])? else { return no_overload() };
    let (namespace, name) = (text(&args[1])?.to_owned(), text(&args[2])?.to_owned());
    if !names::dns1123_subdomain(&name).is_empty() {
        return fail("Invalid service account name");
    }
    if !names::dns1123_label(&namespace).is_empty() {
        return fail("Invalid service account namespace");
    }
    Ok(with(Authz::Authorizer, asker, |question| question.service_account = Some((namespace, name))))
}

fn resource<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let Authz::Group(asker) = authz(&args[0])? else { return no_overload() };
    let resource = text(&args[1])?.to_owned();
    if resource.trim().is_empty() {
        return fail("resource must not be empty");
    }
    Ok(with(Authz::Resource, asker, |question| question.resource = resource))
}

fn set<'a>(args: &[Value<'a>], change: fn(&mut Question, String)) -> Result<Value<'a>> {
    let Authz::Resource(asker) = authz(&args[0])? else { return no_overload() };
    let value = text(&args[1])?.to_owned();
    Ok(with(Authz::Resource, asker, |question| change(question, value)))
}

fn check<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let (Authz::Path(asker) | Authz::Resource(asker)) = authz(&args[0])? else { return no_overload() };
    let question = Question { verb: text(&args[1])?.to_owned(), ..asker.question.clone() };
    Ok(Value::Authz(Arc::new(Authz::Decision(asker.authorizer.check(&question)))))
}
