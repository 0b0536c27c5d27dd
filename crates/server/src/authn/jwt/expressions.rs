//! Expressions over the claims of a token, and over the user they make (KEP-3331).

use std::sync::{Arc, LazyLock};

use orlop_api::Value as Json;
use orlop_cel::ast::{Expr, Kind, Literal, operators};
use orlop_cel::cost::PER_CALL_LIMIT;
use orlop_cel::decl::{DeclType, Form};
use orlop_cel::env::{Env, Types};
use orlop_cel::plan::Program;
use orlop_cel::types::Type;
use orlop_cel::value::{Result as CelResult, Value, Variables};

const USER: &str = "kubernetes.UserInfo";

/// As Go decodes claims: `claims.example__dot__com` is the claim `example.com`, and all numbers are doubles.
static CLAIMS: LazyLock<DeclType> = LazyLock::new(|| DeclType::scalar(Form::Decoded));

/// What an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Claims,
    User,
}

impl About {
    fn variable(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::User => "user",
        }
    }

    fn env(self) -> Env {
        match self {
            Self::Claims => Env::new().with_variable("claims", Type::map(Type::String, Type::Dyn)),
            Self::User => Env::new().with_types(Arc::new(UserType)).with_variable("user", Type::object(USER)),
        }
    }
}

struct UserType;

impl Types for UserType {
    fn has(&self, name: &str) -> bool {
        name == USER
    }

    fn field(&self, _object: &str, field: &str) -> Option<Type> {
        Some(match field {
            "username" | "uid" => Type::String,
            "groups" => Type::list(Type::String),
            "extra" => Type::map(Type::String, Type::list(Type::String)),
            _ => return None,
        })
    }
}

/// One expression, compiled.
pub struct Expression {
    text: String,
    about: About,
    program: Program,
    /// Fields of `claims` that it reads.
    selects: Vec<&'static str>,
}

/// Claims whose use is told.
const WATCHED: [&str; 2] = ["email", "email_verified"];

impl Expression {
    /// `wanted`: what it may result in.
    pub fn compile(text: &str, about: About, wanted: &[Type]) -> Result<Self, String> {
        let env = about.env();
        let checked = env.compile(text).map_err(|issues| format!("compilation failed: {issues}"))?;
        let result = checked.result_type();
        if !wanted.contains(result) && *result != Type::Dyn {
            let names: Vec<String> = wanted.iter().map(Type::describe).collect();
            return Err(match names.as_slice() {
                [one] => format!("must evaluate to {one}"),
                many => format!("must evaluate to one of [{}]", many.join(" ")),
            });
        }
        let selects = WATCHED.into_iter().filter(|field| selects(&checked.ast.root, "claims", field)).collect();
        let program = Program::new(&checked, env.types());
        let program = program.map_err(|error| format!("program instantiation failed: {error}"))?;
        Ok(Self { text: text.to_owned(), about, program, selects })
    }

    pub fn reads(&self, claim: &str) -> bool {
        self.selects.contains(&claim)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    fn eval<'a>(&'a self, input: &'a Json) -> Result<Value<'a>, String> {
        let scope = Scope { name: self.about.variable(), value: input };
        let outcome = self.program.eval(&scope, PER_CALL_LIMIT);
        outcome.value.map_err(|error| format!("expression '{}' resulted in error: {error}", self.text))
    }

    pub fn text_of(&self, input: &Json, what: &str) -> Result<String, String> {
        match self.eval(input)? {
            Value::String(text) => Ok(text.to_string()),
            _ => Err(format!("{what} claim expression must return a string")),
        }
    }

    pub fn texts_of(&self, input: &Json) -> Result<Vec<String>, String> {
        let wrong = || "expression must return a string or a list of strings".to_owned();
        let mut texts = match self.eval(input)? {
            Value::Null => Vec::new(),
            Value::String(text) => vec![text.to_string()],
            Value::List(list) => {
                let one = |value: Value<'_>| value.as_str().map(str::to_owned).ok_or_else(wrong);
                list.iter().map(one).collect::<Result<_, _>>()?
            }
            _ => return Err(wrong()),
        };
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    pub fn holds(&self, input: &Json) -> Result<bool, String> {
        let value = self.eval(input)?;
        value.as_bool().ok_or_else(|| "validation expression must return a boolean".to_owned())
    }
}

struct Scope<'a> {
    name: &'static str,
    value: &'a Json,
}

impl<'a> Variables<'a> for Scope<'a> {
    fn get(&self, name: &str) -> CelResult<Option<Value<'a>>> {
        (name == self.name).then(|| Value::read(self.value, Some(&CLAIMS))).transpose()
    }
}

/// Whether `operand.field` occurs somewhere.
fn selects(expr: &Expr, operand: &str, field: &str) -> bool {
    let is_operand = |expr: &Expr| matches!(&expr.kind, Kind::Ident(name) if **name == *operand);
    let within = |expr: &Expr| selects(expr, operand, field);
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) | Kind::Missing => false,
        Kind::Select(select) => is_operand(&select.operand) && *select.field == *field || within(&select.operand),
        Kind::Call(call) => {
            let optional = *call.function == *operators::OPT_SELECT
                && call.args.first().is_some_and(is_operand)
                && matches!(call.args.get(1).map(|arg| &arg.kind), Some(Kind::Literal(Literal::String(name))) if **name == *field);
            optional || call.args.iter().chain(&call.target).any(within)
        }
        Kind::List(elements) => elements.iter().any(|element| within(&element.value)),
        Kind::Map(entries) => entries.iter().any(|entry| within(&entry.key) || within(&entry.value)),
        Kind::Struct(_, fields) => fields.iter().any(|field| within(&field.value)),
        Kind::Comprehension(fold) => {
            [&fold.range, &fold.accu_init, &fold.condition, &fold.step, &fold.result].into_iter().any(within)
        }
    }
}
