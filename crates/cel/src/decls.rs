//! Declarations: every function's overloads, read once from a table, and the code behind each.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::library;
use crate::types::{Type, split};
use crate::value::{Result, Value};

/// What runs: arguments in, value or error out.
pub type Op = for<'a> fn(&Invocation<'_>, &[Value<'a>]) -> Result<Value<'a>>;

/// What an operation knows besides its arguments.
pub struct Invocation<'p> {
    /// The overload the checker settled on, if on one only.
    pub overload: &'p str,
    /// The pattern of a regex function, compiled beforehand where it is a literal.
    pub regex: Option<&'p regex::Regex>,
}

#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
}

#[derive(Debug)]
pub struct Overload {
    pub id: &'static str,
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    pub op: Option<Op>,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for line in include_str!("library/declarations.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, overload) = declaration(line);
        functions.entry(name).or_insert_with(|| Function { name, overloads: Vec::new() }).overloads.push(overload);
    }
    functions
});

/// The function of a name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

/// All functions, for tests that walk them.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.values()
}

fn declaration(line: &'static str) -> (&'static str, Overload) {
    let (head, result) = line.rsplit_once(" -> ").expect("a declaration has a result");
    let mut words = head.splitn(4, ' ');
    let mut word = || words.next().expect("a declaration has a name, an overload, a style and arguments");
    let (name, id, style, args) = (word(), word(), word(), word());
    let args = args.trim_start_matches('(').strip_suffix(')').expect("arguments stand in parentheses");
    let args: Vec<Type> = split(args).into_iter().map(Type::parse).collect();
    let op = library::op(name, id);
    (name, Overload { id, member: style == "m", args, result: Type::parse(result), op })
}
