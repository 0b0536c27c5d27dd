//! Tokens to tree: precedence climbing over CEL's grammar. Macros are expanded as their calls are read.
//!
//! The words of syntax errors are those of upstream's generated parser, as far as the first error goes;
//! it then tries to recover, we stop.

use std::sync::Arc;

use crate::ast::operators as op;
use crate::ast::{Ast, Call, Element, Entry, Expr, Field, Id, Kind, Literal, Select};
use crate::lexer::{Lexeme, Token, escape_blanks, lex};
use crate::macros;
use crate::source::{Issue, Issues, Location, Source};
use crate::stack;
use crate::unescape;

/// Code points in one expression.
const MAX_CODE_POINTS: usize = 100_000;
/// Nodes after macros are expanded.
const MAX_NODES: usize = 500_000;
/// Depth of the tree.
const MAX_DEPTH: usize = 250;
/// Depth of parentheses, brackets and arguments.
const MAX_NESTING: usize = 250;

const EXPRESSION: &str =
    "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER";
const ELEMENT: &str = "'[', ']', '{', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER";
const ENTRY: &str = "'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER";
const FIELD: &str = "'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER";

const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Reads an expression.
pub fn parse(source: &Source) -> Result<Ast, Issues> {
    if source.chars.len() > MAX_CODE_POINTS {
        let size = source.chars.len();
        let message = format!("expression code point size exceeds limit: size: {size}, limit {MAX_CODE_POINTS}");
        return Err(source.issues(vec![Issue { location: Location::NOWHERE, message }]));
    }
    let (tokens, issues) = lex(source);
    let mut parser = Parser { source, tokens, at: 0, nesting: 0, depth: 0, offsets: Vec::new(), issues };
    let root = parser.start();
    if !parser.issues.is_empty() {
        return Err(source.issues(parser.issues));
    }
    match root {
        Ok(root) => Ok(Ast { root, offsets: parser.offsets }),
        Err(Stop) => Err(source.issues(parser.issues)),
    }
}

/// The error stands in the list; no more is read.
pub struct Stop;

pub struct Parser<'a> {
    source: &'a Source,
    tokens: Vec<Lexeme>,
    at: usize,
    nesting: usize,
    depth: usize,
    offsets: Vec<u32>,
    issues: Vec<Issue>,
}

type Parsed<T = Expr> = Result<T, Stop>;

impl Parser<'_> {
    // Nodes.

    pub fn id(&mut self, offset: usize) -> Id {
        self.offsets.push(offset as u32);
        (self.offsets.len() - 1) as Id
    }

    /// Macros that repeat an argument could grow without end.
    pub fn is_full(&self) -> bool {
        self.offsets.len() > MAX_NODES
    }

    pub fn offset(&self, id: Id) -> usize {
        self.offsets[id as usize] as usize
    }

    pub fn node(&mut self, offset: usize, kind: Kind) -> Expr {
        Expr { id: self.id(offset), kind }
    }

    /// Notes an error and goes on with a node that stands for nothing.
    pub fn error(&mut self, offset: usize, message: impl Into<String>) -> Expr {
        self.issues.push(Issue { location: self.source.location(offset), message: message.into() });
        self.node(offset, Kind::Missing)
    }

    fn call(&mut self, offset: usize, function: &str, mut target: Option<Expr>, mut args: Vec<Expr>) -> Expr {
        let id = self.id(offset);
        if let Some(expanded) = macros::expand(self, offset, function, target.as_mut(), &mut args) {
            return expanded;
        }
        Expr { id, kind: Kind::Call(Box::new(Call { function: function.into(), target, args })) }
    }

    // Tokens.

    fn peek(&self) -> Lexeme {
        self.tokens[self.at]
    }

    fn peek_at(&self, ahead: usize) -> Token {
        self.tokens.get(self.at + ahead).map_or(Token::End, |lexeme| lexeme.token)
    }

    fn text(&self, lexeme: Lexeme) -> String {
        match lexeme.token {
            Token::End => "<EOF>".to_owned(),
            _ => self.source.chars[lexeme.start..lexeme.end].iter().collect(),
        }
    }

    fn next(&mut self) -> Lexeme {
        let lexeme = self.peek();
        if lexeme.token != Token::End {
            self.at += 1;
        }
        lexeme
    }

    fn accept(&mut self, sign: &'static str) -> Option<Lexeme> {
        (self.peek().token == Token::Sign(sign)).then(|| self.next())
    }

    fn syntax_error<T>(&mut self, message: impl std::fmt::Display) -> Parsed<T> {
        let mut location = self.source.location(self.peek().start);
        if self.source.chars.is_empty() {
            // Nothing ends before it begins.
            location.column = -1;
        }
        self.issues.push(Issue { location, message: format!("Syntax error: {message}") });
        Err(Stop)
    }

    fn mismatched<T>(&mut self, expected: &str) -> Parsed<T> {
        let text = escape_blanks(&self.text(self.peek()));
        self.syntax_error(format_args!("mismatched input '{text}' expecting {expected}"))
    }

    /// Takes `sign`; says whether it is missing before what could follow it, or something else is in its place.
    fn expect(&mut self, sign: &'static str, could_follow: fn(Token) -> bool) -> Parsed<Lexeme> {
        if let Some(lexeme) = self.accept(sign) {
            return Ok(lexeme);
        }
        let text = escape_blanks(&self.text(self.peek()));
        if self.peek().token != Token::End && self.peek_at(1) == Token::Sign(sign) {
            return self.syntax_error(format_args!("extraneous input '{text}' expecting '{sign}'"));
        }
        if could_follow(self.peek().token) {
            return self.syntax_error(format_args!("missing '{sign}' at '{text}'"));
        }
        self.syntax_error(format_args!("mismatched input '{text}' expecting '{sign}'"))
    }

    /// Refuses what cannot begin an item of a kind.
    fn expect_start(&mut self, starts: fn(Token) -> bool, expected: &str) -> Parsed<()> {
        if starts(self.peek().token) {
            return Ok(());
        }
        let text = escape_blanks(&self.text(self.peek()));
        let deletes = self.peek().token != Token::End && starts(self.peek_at(1));
        let what = if deletes { "extraneous" } else { "mismatched" };
        self.syntax_error(format_args!("{what} input '{text}' expecting {{{expected}}}"))
    }

    /// Parentheses, brackets, arguments.
    fn nest(&mut self) -> Parsed<()> {
        self.nesting += 1;
        self.bound(self.nesting, MAX_NESTING, &format!("expression recursion limit exceeded: {MAX_NESTING}"))
    }

    /// Operators and selections: every one makes the tree deeper.
    fn deepen(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.bound(self.depth, MAX_DEPTH, "max recursion depth exceeded")
    }

    fn bound(&mut self, depth: usize, most: usize, message: &str) -> Parsed<()> {
        if depth <= most {
            return Ok(());
        }
        self.issues.push(Issue { location: Location::NOWHERE, message: message.to_owned() });
        Err(Stop)
    }

    // Grammar.

    fn start(&mut self) -> Parsed {
        let root = self.expr()?;
        if self.peek().token == Token::End {
            return Ok(root);
        }
        let text = escape_blanks(&self.text(self.peek()));
        let what = if self.peek_at(1) == Token::End { "extraneous" } else { "mismatched" };
        self.syntax_error(format_args!("{what} input '{text}' expecting <EOF>"))
    }

    /// `or ('?' or ':' expr)?`
    fn expr(&mut self) -> Parsed {
        self.nest()?;
        let condition = stack::deeper(|| self.or())?;
        let expr = if let Some(question) = self.accept("?") {
            let id_offset = question.start;
            let then = self.or()?;
            self.expect(":", starts_expression)?;
            let otherwise = self.expr()?;
            self.call(id_offset, op::CONDITIONAL, None, vec![condition, then, otherwise])
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(expr)
    }

    /// `a || b || c`, as a balanced tree: a long chain must not nest deeply.
    fn or(&mut self) -> Parsed {
        let mut terms = vec![self.and()?];
        let mut offsets = Vec::new();
        while let Some(lexeme) = self.accept("||") {
            offsets.push(lexeme.start);
            terms.push(self.and()?);
        }
        Ok(self.balanced(op::OR, &offsets, &mut terms.into_iter()))
    }

    fn and(&mut self) -> Parsed {
        let mut terms = vec![self.binary(0)?];
        let mut offsets = Vec::new();
        while let Some(lexeme) = self.accept("&&") {
            offsets.push(lexeme.start);
            terms.push(self.binary(0)?);
        }
        Ok(self.balanced(op::AND, &offsets, &mut terms.into_iter()))
    }

    fn balanced(&mut self, function: &str, ops: &[usize], terms: &mut std::vec::IntoIter<Expr>) -> Expr {
        if ops.is_empty() {
            return terms.next().expect("one more term than operators");
        }
        let middle = ops.len() / 2;
        let left = self.balanced(function, &ops[..middle], terms);
        let right = self.balanced(function, &ops[middle + 1..], terms);
        let call = Call { function: function.into(), target: None, args: vec![left, right] };
        self.node(ops[middle], Kind::Call(Box::new(call)))
    }

    /// Relations, sums, products: each level binds tighter, all group to the left.
    fn binary(&mut self, lowest: usize) -> Parsed {
        let mut left = self.unary()?;
        let mut entered = 0;
        while let Token::Sign(sign) = self.peek().token {
            let Some((level, function)) = binding(sign).filter(|(level, _)| *level >= lowest) else { break };
            self.deepen()?;
            entered += 1;
            let at = self.next().start;
            let right = self.binary(level + 1)?;
            left = self.call(at, function, None, vec![left, right]);
        }
        self.depth -= entered;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        self.expect_start(starts_expression, EXPRESSION)?;
        let first = self.peek();
        let (sign, function) = match first.token {
            Token::Sign("!") => ("!", op::NOT),
            Token::Sign("-") if !matches!(self.peek_at(1), Token::Int | Token::Float) => ("-", op::NEGATE),
            _ => return self.member(),
        };
        let mut count = 0;
        while self.accept(sign).is_some() {
            count += 1;
        }
        if sign == "!" && self.peek().token == Token::End {
            return self.syntax_error(format_args!("extraneous input '<EOF>' expecting {{{EXPRESSION}}}"));
        }
        if !starts_member(self.peek().token) || (sign == "-" && self.peek().token == Token::Sign("-")) {
            let text = match self.peek().token {
                Token::End => sign.to_owned(),
                _ => format!("{sign}{}", self.text(self.peek())),
            };
            return self.syntax_error(format_args!("no viable alternative at input '{}'", escape_blanks(&text)));
        }
        let operand = self.member()?;
        if count % 2 == 0 { Ok(operand) } else { Ok(self.call(first.start, function, None, vec![operand])) }
    }

    fn member(&mut self) -> Parsed {
        let mut operand = self.primary()?;
        let mut entered = 0;
        loop {
            let lexeme = self.peek();
            operand = match lexeme.token {
                Token::Sign(".") => {
                    self.deepen()?;
                    self.next();
                    self.select(operand, lexeme)?
                }
                Token::Sign("[") => {
                    self.deepen()?;
                    self.next();
                    self.expect_start(starts_optional, &EXPRESSION.replacen("'!',", "'!', '?',", 1))?;
                    let optional = self.accept("?").is_some();
                    let index = self.expr()?;
                    self.expect("]", follows_operand)?;
                    let function = if optional { op::OPT_INDEX } else { op::INDEX };
                    self.call(lexeme.start, function, None, vec![operand, index])
                }
                _ => break,
            };
            entered += 1;
        }
        self.depth -= entered;
        Ok(operand)
    }

    fn select(&mut self, operand: Expr, dot: Lexeme) -> Parsed {
        let optional = self.accept("?").is_some();
        let name = self.peek();
        let text = self.text(name);
        if optional && !matches!(name.token, Token::Ident | Token::EscapedIdent) {
            self.error(name.start, "unsupported ident kind");
            return self.mismatched("{IDENTIFIER, ESC_IDENTIFIER}");
        }
        match name.token {
            Token::Ident if !optional && self.peek_at(1) == Token::Sign("(") => {
                self.next();
                let open = self.next();
                let args = self.arguments()?;
                return Ok(self.call(open.start, &text, Some(operand), args));
            }
            Token::Ident | Token::EscapedIdent => {}
            Token::Sign("true" | "false" | "null") => return self.mismatched("IDENTIFIER"),
            _ => {
                let end = if name.token == Token::End { dot.end } else { name.end };
                let input: String = self.source.chars[dot.start..end].iter().collect();
                return self.syntax_error(format_args!("no viable alternative at input '{}'", escape_blanks(&input)));
            }
        }
        self.next();
        let field: Arc<str> = text.trim_matches('`').into();
        if optional {
            let field = self.node(name.start, Kind::Literal(Literal::String(field)));
            let call = Call { function: op::OPT_SELECT.into(), target: None, args: vec![operand, field] };
            return Ok(self.node(dot.start, Kind::Call(Box::new(call))));
        }
        Ok(self.node(dot.start, Kind::Select(Box::new(Select { operand, field, test_only: false }))))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.accept(")").is_some() {
            return Ok(args);
        }
        let starts = |token| starts_expression(token) || token == Token::Sign(")");
        self.expect_start(starts, &EXPRESSION.replacen("'(',", "'(', ')',", 1))?;
        loop {
            args.push(self.expr()?);
            if self.accept(",").is_none() {
                break;
            }
        }
        self.expect(")", follows_operand)?;
        Ok(args)
    }

    fn primary(&mut self) -> Parsed {
        let lexeme = self.peek();
        match lexeme.token {
            Token::Sign("(") => {
                self.next();
                let inner = self.expr()?;
                self.expect(")", follows_operand)?;
                Ok(inner)
            }
            Token::Sign("[") => self.list(),
            Token::Sign("{") => self.map(),
            Token::Sign(".") if self.peek_at(1) == Token::Ident => self.name(),
            Token::Ident => self.name(),
            Token::Sign("-") if matches!(self.peek_at(1), Token::Int | Token::Float) => self.literal(),
            Token::Int | Token::Uint | Token::Float | Token::String | Token::Bytes => self.literal(),
            Token::Sign("true" | "false" | "null") => self.literal(),
            Token::Sign(".") if self.peek_at(1) == Token::Sign(".") => {
                self.next();
                self.syntax_error(format_args!("no viable alternative at input '..'"))
            }
            Token::Sign(".") => {
                self.next();
                self.mismatched("IDENTIFIER")
            }
            _ => self.mismatched(&format!("{{{EXPRESSION}}}")),
        }
    }

    /// `.?ident`, a call of a function, or a message `a.b.C{...}`.
    fn name(&mut self) -> Parsed {
        let start = self.peek().start;
        let dot = self.accept(".").is_some();
        if let Some(parts) = self.message_name() {
            return self.message(dot, parts);
        }
        let ident = self.next();
        let text = self.text(ident);
        let open = self.accept("(");
        if RESERVED.contains(&text.as_str()) {
            if open.is_some() {
                self.arguments()?;
            }
            return Ok(self.error(start, format!("reserved identifier: {text}")));
        }
        let name = if dot { format!(".{text}") } else { text };
        if let Some(open) = open {
            let args = self.arguments()?;
            return Ok(self.call(open.start, &name, None, args));
        }
        Ok(self.node(ident.start, Kind::Ident(name.into())))
    }

    /// How many tokens `ident ('.' ident)*` takes, if a brace follows.
    fn message_name(&self) -> Option<usize> {
        let mut count = 1;
        while self.peek_at(count) == Token::Sign(".") && self.peek_at(count + 1) == Token::Ident {
            count += 2;
        }
        (self.peek_at(count) == Token::Sign("{")).then_some(count)
    }

    fn message(&mut self, dot: bool, parts: usize) -> Parsed {
        let mut name = if dot { ".".to_owned() } else { String::new() };
        for _ in 0..parts {
            let lexeme = self.next();
            name.push_str(&self.text(lexeme));
        }
        let open = self.next();
        let id = self.id(open.start);
        let mut fields = Vec::new();
        self.expect_start(|t| starts_field(t) || matches!(t, Token::Sign("}" | ",")), FIELD)?;
        while self.peek().token != Token::Sign("}") {
            if self.peek().token == Token::Sign(",") {
                break;
            }
            let optional = self.accept("?").is_some();
            if !matches!(self.peek().token, Token::Ident | Token::EscapedIdent) {
                return self.mismatched("{IDENTIFIER, ESC_IDENTIFIER}");
            }
            let lexeme = self.next();
            let name = self.text(lexeme).trim_matches('`').into();
            let colon = self.expect(":", starts_expression)?;
            let id = self.id(colon.start);
            let value = self.expr()?;
            fields.push(Field { id, name, value, optional });
            if !(self.peek().token == Token::Sign(",") && starts_field(self.peek_at(1))) {
                break;
            }
            self.next();
        }
        self.close("}")?;
        Ok(Expr { id, kind: Kind::Struct(name.into(), fields) })
    }

    fn list(&mut self) -> Parsed {
        let open = self.next();
        let id = self.id(open.start);
        let mut elements = Vec::new();
        self.expect_start(|t| starts_optional(t) || matches!(t, Token::Sign("]" | ",")), ELEMENT)?;
        while starts_optional(self.peek().token) {
            let optional = self.accept("?").is_some();
            elements.push(Element { value: self.expr()?, optional });
            if !(self.peek().token == Token::Sign(",") && starts_optional(self.peek_at(1))) {
                break;
            }
            self.next();
        }
        self.close("]")?;
        Ok(Expr { id, kind: Kind::List(elements) })
    }

    fn map(&mut self) -> Parsed {
        let open = self.next();
        let id = self.id(open.start);
        let mut entries = Vec::new();
        self.expect_start(|t| starts_optional(t) || matches!(t, Token::Sign("}" | ",")), ENTRY)?;
        while starts_optional(self.peek().token) {
            let optional = self.accept("?").is_some();
            let key = self.expr()?;
            let colon = self.expect(":", starts_expression)?;
            let id = self.id(colon.start);
            entries.push(Entry { id, key, value: self.expr()?, optional });
            if !(self.peek().token == Token::Sign(",") && starts_optional(self.peek_at(1))) {
                break;
            }
            self.next();
        }
        self.close("}")?;
        Ok(Expr { id, kind: Kind::Map(entries) })
    }

    /// `','? close`
    fn close(&mut self, sign: &'static str) -> Parsed<()> {
        let comma = self.accept(",").is_some();
        if self.accept(sign).is_some() {
            return Ok(());
        }
        if comma {
            return self.expect(sign, follows_operand).map(|_| ());
        }
        let expected = if sign == "]" { "{']', ','}" } else { "{'}', ','}" };
        let text = escape_blanks(&self.text(self.peek()));
        if matches!(self.peek_at(1), Token::Sign(s) if s == sign || s == ",") {
            return self.syntax_error(format_args!("extraneous input '{text}' expecting {expected}"));
        }
        self.mismatched(expected)
    }

    fn literal(&mut self) -> Parsed {
        let start = self.peek().start;
        let sign = if self.accept("-").is_some() { "-" } else { "" };
        let lexeme = self.next();
        let text = self.text(lexeme);
        let literal = match lexeme.token {
            Token::Sign("true") => Ok(Literal::Bool(true)),
            Token::Sign("false") => Ok(Literal::Bool(false)),
            Token::Sign("null") => Ok(Literal::Null),
            Token::Int => int(sign, &text).map(Literal::Int).ok_or("invalid int literal"),
            Token::Uint => uint(&text).map(Literal::Uint).ok_or("invalid uint literal"),
            Token::Float => double(sign, &text).map(Literal::Double).ok_or("invalid double literal"),
            Token::String => unescape::string(&text).map(|s| Literal::String(s.into())),
            _ => unescape::bytes(&text[1..]).map(|b| Literal::Bytes(b.into())),
        };
        match literal {
            Ok(literal) => Ok(self.node(start, Kind::Literal(literal))),
            Err(message) => Ok(self.error(start, message)),
        }
    }
}

/// How tightly a binary operator binds, and its function.
fn binding(sign: &str) -> Option<(usize, &'static str)> {
    let level = match sign {
        "*" | "/" | "%" => 2,
        "+" | "-" => 1,
        _ => 0,
    };
    op::binary(sign).map(|function| (level, function))
}

fn int(sign: &str, text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => format!("{sign}{text}").parse().ok(),
    }
}

fn uint(text: &str) -> Option<u64> {
    let text = text.trim_end_matches(['u', 'U']);
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn double(sign: &str, text: &str) -> Option<f64> {
    format!("{sign}{text}").parse().ok().filter(|value: &f64| value.is_finite())
}

fn starts_member(token: Token) -> bool {
    match token {
        Token::Sign(sign) => matches!(sign, "[" | "{" | "(" | "." | "-" | "true" | "false" | "null"),
        Token::EscapedIdent | Token::End => false,
        _ => true,
    }
}

fn starts_expression(token: Token) -> bool {
    token == Token::Sign("!") || starts_member(token)
}

fn starts_optional(token: Token) -> bool {
    token == Token::Sign("?") || starts_expression(token)
}

fn starts_field(token: Token) -> bool {
    matches!(token, Token::Sign("?") | Token::Ident | Token::EscapedIdent)
}

/// What may stand behind a complete operand.
fn follows_operand(token: Token) -> bool {
    match token {
        Token::Sign(sign) => !matches!(sign, "!" | "{" | "(" | "true" | "false" | "null"),
        Token::End => true,
        _ => false,
    }
}
