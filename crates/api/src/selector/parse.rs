//! The text form, word by word.

use super::{BINARY_OPERATORS, Operator, Requirement, SelectorError, check_key};
use crate::field::{ErrorList, Path};

type Result<T> = std::result::Result<T, SelectorError>;

fn error<T>(text: String) -> Result<T> {
    Err(SelectorError(text))
}

pub(super) fn selector(text: &str) -> Result<Vec<Requirement>> {
    let mut parser = Parser { words: words(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Word::Identifier(_) | Word::Symbol("!") => {
                let wrap = |e: SelectorError| SelectorError(format!("unable to parse requirement: {e}"));
                requirements.push(parser.requirement().map_err(wrap)?);
                match parser.next() {
                    Word::End => return Ok(requirements),
                    Word::Symbol(",") => match parser.peek() {
                        Word::Identifier(_) | Word::Symbol("!") => {}
                        other => return error(format!("found '{other}', expected: identifier after ','")),
                    },
                    other => return error(format!("found '{other}', expected: ',' or 'end of string'")),
                }
            }
            Word::End => return Ok(requirements),
            other @ Word::Symbol(_) => {
                return error(format!("found '{other}', expected: !, identifier, or 'end of string'"));
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word<'a> {
    /// Also `in` and `notin`, which are operators only after a key.
    Identifier(&'a str),
    Symbol(&'static str),
    End,
}

impl std::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identifier(text) => f.write_str(text),
            Self::Symbol(text) => f.write_str(text),
            Self::End => Ok(()),
        }
    }
}

/// Longest first, so that `==` is not two `=`.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", ">", "<", "(", ")", ","];

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
        let length = match symbol {
            Some(symbol) => symbol.len(),
            None => rest.find(|c| is_space(c) || "=!(),><".contains(c)).unwrap_or(rest.len()),
        };
        words.push(symbol.map_or(Word::Identifier(&rest[..length]), Word::Symbol));
        rest = rest[length..].trim_start_matches(is_space);
    }
    words.push(Word::End);
    words
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

struct Parser<'a> {
    words: Vec<Word<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Word<'a> {
        self.words.get(self.at).copied().unwrap_or(Word::End)
    }

    fn next(&mut self) -> Word<'a> {
        let word = self.peek();
        self.at += 1;
        word
    }

    fn requirement(&mut self) -> Result<Requirement> {
        let negated = self.peek() == Word::Symbol("!");
        self.at += usize::from(negated);
        let key = match self.next() {
            Word::Identifier(key) => key,
            other => return error(format!("found '{other}', expected: identifier")),
        };
        let mut errors = ErrorList::default();
        check_key(&mut errors, &Path::default(), key);
        if !errors.is_empty() {
            return error(errors.aggregate());
        }
        if negated {
            return Requirement::checked(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Word::End | Word::Symbol(",")) {
            return Requirement::checked(key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::checked(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator> {
        Ok(match self.next() {
            Word::Identifier("in") => Operator::In,
            Word::Identifier("notin") => Operator::NotIn,
            Word::Symbol("=") => Operator::Equals,
            Word::Symbol("==") => Operator::DoubleEquals,
            Word::Symbol("!=") => Operator::NotEquals,
            Word::Symbol(">") => Operator::GreaterThan,
            Word::Symbol("<") => Operator::LessThan,
            other => return error(format!("found '{other}', expected: {BINARY_OPERATORS}")),
        })
    }

    /// `(a,b)`; an empty place between commas or parentheses is the empty value.
    fn values(&mut self) -> Result<Vec<String>> {
        match self.next() {
            Word::Symbol("(") => {}
            other => return error(format!("found '{other}' expected: '('")),
        }
        match self.peek() {
            Word::Identifier(_) | Word::Symbol("," | ")") => {}
            other => return error(format!("found '{other}', expected: ',', ')' or identifier")),
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Word::Identifier(value) => {
                    self.at += 1;
                    value
                }
                Word::Symbol("," | ")") => "",
                other => return error(format!("found '{other}', expected: ',', or identifier")),
            };
            values.push(value.to_owned());
            match self.next() {
                Word::Symbol(")") => return Ok(values),
                Word::Symbol(",") => {}
                other => return error(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String> {
        match self.peek() {
            Word::End | Word::Symbol(",") => return Ok(String::new()),
            _ => {}
        }
        match self.next() {
            Word::Identifier(value) => Ok(value.to_owned()),
            other => error(format!("found '{other}', expected: identifier")),
        }
    }
}
