//! The syntax tree. Every node has an id; `Ast::offsets` says where in the source it stands, and the
//! checker files types and overloads under it.

use std::sync::Arc;

pub type Id = u32;

#[derive(Clone, Debug)]
pub struct Ast {
    pub root: Expr,
    /// Id -> offset in the source.
    pub offsets: Vec<u32>,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub id: Id,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Literal(Literal),
    Ident(Arc<str>),
    Select(Box<Select>),
    Call(Box<Call>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct(Arc<str>, Vec<Field>),
    Comprehension(Box<Comprehension>),
    /// Stands where an error was reported.
    Missing,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub struct Select {
    pub operand: Expr,
    pub field: Arc<str>,
    /// `has(operand.field)`
    pub test_only: bool,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub function: Arc<str>,
    pub target: Option<Expr>,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct Element {
    pub value: Expr,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Id,
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub id: Id,
    pub name: Arc<str>,
    pub value: Expr,
    pub optional: bool,
}

/// What every macro over lists and maps becomes: a fold.
#[derive(Clone, Debug)]
pub struct Comprehension {
    pub range: Expr,
    pub var: Arc<str>,
    pub var2: Option<Arc<str>>,
    pub accu_var: Arc<str>,
    pub accu_init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

/// Names of operators as functions.
pub mod operators {
    pub const CONDITIONAL: &str = "_?_:_";
    pub const AND: &str = "_&&_";
    pub const OR: &str = "_||_";
    pub const NOT: &str = "!_";
    pub const NEGATE: &str = "-_";
    pub const EQUALS: &str = "_==_";
    pub const NOT_EQUALS: &str = "_!=_";
    pub const ADD: &str = "_+_";
    pub const IN: &str = "@in";
    pub const INDEX: &str = "_[_]";
    pub const OPT_INDEX: &str = "_[?_]";
    pub const OPT_SELECT: &str = "_?._";
    pub const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
    pub const MAP_INSERT: &str = "cel.@mapInsert";

    /// The function of a binary operator.
    pub fn binary(text: &str) -> Option<&'static str> {
        Some(match text {
            "+" => ADD,
            "-" => "_-_",
            "*" => "_*_",
            "/" => "_/_",
            "%" => "_%_",
            "<" => "_<_",
            "<=" => "_<=_",
            ">" => "_>_",
            ">=" => "_>=_",
            "==" => EQUALS,
            "!=" => NOT_EQUALS,
            "in" => IN,
            _ => return None,
        })
    }
}

/// The name under which a fold's state is visible to its own steps and to nobody else.
pub const ACCUMULATOR: &str = "@result";
/// Its name in old times, still not to be taken.
pub const OLD_ACCUMULATOR: &str = "__result__";
