//! CEL, the expression language of Kubernetes' policies and validation rules: read, type-checked,
//! estimated and evaluated as upstream does it, down to the words of errors and the units of cost.
//!
//! An [`env::Env`] says what an expression may refer to: variables, their declared types
//! ([`decl::DeclType`]), Kubernetes' functions. `Env::compile` gives a [`check::Checked`] tree or the
//! [`source::Issues`]; [`plan::Program`] makes it ready to run; [`cost`] bounds it before and during.
//!
//! Values borrow: an object is never copied or converted to be looked at.

pub mod source;
mod stack;

pub mod ast;
mod lexer;
mod macros;
pub mod parser;
mod unescape;

pub mod decl;
pub mod decls;
pub mod escape;
pub mod types;

pub mod check;
pub mod env;

mod dispatch;
pub mod eval;
pub mod library;
pub mod plan;
mod re2;
pub mod value;

pub mod cost;
