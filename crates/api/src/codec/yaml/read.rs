//! Trees of YAML nodes to JSON values: aliases expanded, words resolved.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::scalar::Resolved;
use super::tree::{Loader, Node, NodeId, Tree};
use crate::codec::MAX_DEPTH;
use crate::quote::quote;

/// Why a text is no YAML that JSON can say; prints with go-yaml's `yaml: ` in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    #[error("yaml: {}{problem}", place(*.line))]
    Syntax { line: usize, problem: String },
    /// At this character.
    #[error("yaml: found a tab character that violates indentation")]
    TabAfterColon { at: usize },
    #[error("yaml: invalid UTF-8")]
    NotUtf8,
    #[error("yaml: exceeded max depth of {MAX_DEPTH}")]
    TooDeep,
    #[error("yaml: anchor value contains itself")]
    SelfReference,
    #[error("yaml: document contains excessive aliasing")]
    ExcessiveAliasing,
    #[error("yaml: map merge requires map or sequence of maps as the value")]
    BadMerge,
    #[error("yaml: line {line}: invalid map key")]
    BadKey { line: usize },
    #[error("yaml: line {line}: cannot decode `{word}` as a !!{tag}")]
    BadTag { line: usize, word: String, tag: String },
    #[error("json: unsupported value: {0}")]
    NotJson(String),
}

/// Where no line is known, none is named.
fn place(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

/// Reads the first document; an empty text is null. Of duplicate keys the last wins.
pub fn from_yaml(bytes: &[u8]) -> Result<Value, YamlError> {
    from_yaml_reporting(bytes).map(|(value, _)| value)
}

/// Reads the first document and says which keys stood twice (one text for all, as go-yaml prints it).
pub(super) fn from_yaml_reporting(bytes: &[u8]) -> Result<(Value, Vec<String>), YamlError> {
    with_tabs_tolerated(bytes, |text| match Loader::new(text).next_document()? {
        Some(tree) => tree.to_value(),
        None => Ok((Value::Null, Vec::new())),
    })
}

/// Reads every document of a stream, leaving out empty ones.
pub fn from_yaml_all(bytes: &[u8]) -> Result<Vec<Value>, YamlError> {
    with_tabs_tolerated(bytes, |text| {
        let mut loader = Loader::new(text);
        let mut values = Vec::new();
        while let Some(tree) = loader.next_document()? {
            let (value, _) = tree.to_value()?;
            if !value.is_null() {
                values.push(value);
            }
        }
        Ok(values)
    })
}

/// Corrections of one text; each costs a parse from the start.
const MAX_TABS_TOLERATED: usize = 64;

/// go-yaml takes a tab between a key's colon and its value, the parser here does not. It says where, so the tab
/// becomes a space and the text is read again.
fn with_tabs_tolerated<T>(bytes: &[u8], read: impl Fn(&str) -> Result<T, YamlError>) -> Result<T, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| YamlError::NotUtf8)?;
    let mut text = Cow::Borrowed(text.trim_start_matches('\u{feff}'));
    for _ in 0..MAX_TABS_TOLERATED {
        match read(&text) {
            Err(YamlError::TabAfterColon { at }) => {
                let before: usize = text.chars().take(at).map(char::len_utf8).sum();
                let tabs = text[..before].len() - text[..before].trim_end_matches('\t').len();
                text.to_mut().replace_range(before - tabs..before, &" ".repeat(tabs));
            }
            done => return done,
        }
    }
    read(&text)
}

/// Splits a stream at `---` lines without reading it, so that one bad document spares the others.
pub fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let Some(at) = current.find("\n---").filter(|_| !current.is_empty()) else {
            rest = None;
            return Some(current);
        };
        let after = &current[at + 4..];
        rest = Some(after.find('\n').map_or("", |end| &after[end + 1..]));
        Some(&current[..=at])
    })
    .map(|document| document.strip_prefix("---\n").unwrap_or(document))
    .filter(|document| !document.trim().is_empty())
}

impl Tree<'_> {
    fn to_value(&self) -> Result<(Value, Vec<String>), YamlError> {
        let mut builder =
            Builder { tree: self, duplicates: Vec::new(), built: 0, by_alias: 0, alias_depth: 0, path: Vec::new() };
        let value = builder.value(self.root)?;
        let duplicates = match builder.duplicates.as_slice() {
            [] => Vec::new(),
            lines => vec![format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "))],
        };
        Ok((value, duplicates))
    }
}

struct Builder<'t, 'a> {
    tree: &'t Tree<'a>,
    duplicates: Vec<String>,
    /// Nodes built so far, and how many of them below an alias.
    built: usize,
    by_alias: usize,
    alias_depth: usize,
    /// Nodes being built, to see an alias that contains itself.
    path: Vec<NodeId>,
}

/// go-yaml's guard against alias bombs: past this many nodes, the share that may come from aliases
/// falls from 99 % to 10 % at the higher bound.
const ALIAS_RATIO_LOW: f64 = 400_000.0;
const ALIAS_RATIO_HIGH: f64 = 4_000_000.0;

impl Builder<'_, '_> {
    fn value(&mut self, id: NodeId) -> Result<Value, YamlError> {
        self.enter(id)?;
        let (node, line) = &self.tree.nodes[id];
        let value = match node {
            Node::Alias(target) => {
                self.alias_depth += 1;
                let value = self.value(*target);
                self.alias_depth -= 1;
                value?
            }
            Node::Scalar { text, plain, tag } => scalar(text, *plain, tag.as_deref(), *line)?,
            Node::Sequence(items) => {
                Value::Array(items.iter().map(|item| self.value(*item)).collect::<Result<_, _>>()?)
            }
            Node::Mapping(children) => {
                let mut map = Map::new();
                self.fill(children, &mut map)?;
                Value::Object(map)
            }
        };
        self.path.pop();
        Ok(value)
    }

    fn enter(&mut self, id: NodeId) -> Result<(), YamlError> {
        self.built += 1;
        self.by_alias += usize::from(self.alias_depth > 0);
        if self.by_alias > 100 && self.built > 1000 {
            let into = ((self.built as f64 - ALIAS_RATIO_LOW) / (ALIAS_RATIO_HIGH - ALIAS_RATIO_LOW)).clamp(0.0, 1.0);
            if self.by_alias as f64 / self.built as f64 > 0.99 - 0.89 * into {
                return Err(YamlError::ExcessiveAliasing);
            }
        }
        if self.alias_depth > 0 && self.path.contains(&id) {
            return Err(YamlError::SelfReference);
        }
        if self.path.len() > MAX_DEPTH {
            return Err(YamlError::TooDeep);
        }
        self.path.push(id);
        Ok(())
    }

    /// Puts key-value children into `map`, in order: later ones win, merged ones included.
    fn fill(&mut self, children: &[NodeId], map: &mut Map<String, Value>) -> Result<(), YamlError> {
        for pair in children.chunks_exact(2) {
            if self.is_merge(pair[0]) {
                self.merge(pair[1], map)?;
                continue;
            }
            let key = self.key(pair[0])?;
            let value = self.value(pair[1])?;
            if map.contains_key(&key) {
                let line = self.tree.nodes[pair[1]].1;
                self.duplicates.push(format!("line {line}: key {} already set in map", quote(&key)));
            }
            map.insert(key, value);
        }
        Ok(())
    }

    fn is_merge(&self, id: NodeId) -> bool {
        matches!(&self.tree.nodes[id].0, Node::Scalar { text, plain, tag }
            if text == "<<" && (*plain || tag.as_deref() == Some("merge")))
    }

    fn merge(&mut self, id: NodeId, map: &mut Map<String, Value>) -> Result<(), YamlError> {
        let sources = match &self.tree.nodes[id].0 {
            Node::Sequence(items) => items.iter().rev().copied().collect(),
            _ => vec![id],
        };
        for source in sources {
            let aliased = match self.tree.nodes[source].0 {
                Node::Alias(target) => target,
                _ => source,
            };
            let Node::Mapping(children) = &self.tree.nodes[aliased].0 else { return Err(YamlError::BadMerge) };
            self.alias_depth += 1;
            self.enter(aliased)?;
            self.fill(children, map)?;
            self.path.pop();
            self.alias_depth -= 1;
        }
        Ok(())
    }

    fn key(&self, id: NodeId) -> Result<String, YamlError> {
        let (node, line) = &self.tree.nodes[id];
        let bad = || YamlError::BadKey { line: *line };
        match node {
            Node::Alias(target) => self.key(*target),
            Node::Scalar { text, plain: true, tag: None } => Resolved::of(text).into_key(text).ok_or_else(bad),
            Node::Scalar { text, plain, tag } => match scalar(text, *plain, tag.as_deref(), *line)? {
                Value::String(key) => Ok(key),
                Value::Null | Value::Array(_) | Value::Object(_) => Err(bad()),
                other => Ok(other.to_string()),
            },
            Node::Sequence(_) | Node::Mapping(_) => Err(bad()),
        }
    }
}

fn scalar(text: &str, plain: bool, tag: Option<&str>, line: usize) -> Result<Value, YamlError> {
    let resolved = match tag {
        None if plain => Resolved::of(text),
        None | Some("str" | "!" | "timestamp") => return Ok(text.into()),
        Some("binary") => return binary(text, line),
        Some(tag) => match (tag, Resolved::of(text)) {
            ("float", Resolved::Int(i)) => Resolved::Float(i as f64),
            ("bool", r @ Resolved::Bool(_)) | ("null", r @ Resolved::Null) => r,
            ("int", r @ (Resolved::Int(_) | Resolved::Uint(_))) | ("float", r @ Resolved::Float(_)) => r,
            ("bool" | "int" | "float" | "null", _) => {
                return Err(YamlError::BadTag { line, word: text.to_owned(), tag: tag.to_owned() });
            }
            _ => return Ok(text.into()),
        },
    };
    resolved.into_value(text).ok_or_else(|| YamlError::NotJson(text.to_owned()))
}

fn binary(text: &str, line: usize) -> Result<Value, YamlError> {
    let compact: String = text.split_whitespace().collect();
    let bad = || YamlError::BadTag { line, word: text.to_owned(), tag: "binary".to_owned() };
    let bytes = base64::engine::general_purpose::STANDARD.decode(compact).map_err(|_| bad())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::{YamlError, documents, from_yaml, from_yaml_all, from_yaml_reporting};
    use serde_json::json;

    #[test]
    fn reads_as_go_yaml_does() {
        for (text, want) in [
            ("", json!(null)),
            ("# only a comment\n", json!(null)),
            ("a: 1\na: 2\n", json!({ "a": 2 })),
            (
                "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\nc:\n  q: 3\n  <<: *x\n",
                json!({
                    "a": { "p": 1, "q": 2 }, "b": { "p": 1, "q": 3 }, "c": { "p": 1, "q": 2 },
                }),
            ),
            ("1: one\ntrue: t\n1.5: f\ny: b\n", json!({ "1": "one", "true": "b", "1.5": "f" })),
            (
                "a: !!str 1\nb: !!int \"2\"\nc: !!float 3\nd: !!binary aGk=\n",
                json!({ "a": "1", "b": 2, "c": 3, "d": "hi" }),
            ),
            ("a:\tb\nc:\t\t-1\n", json!({ "a": "b", "c": -1 })),
            ("a: |\n  x\n   y\nb: >-\n  folded\n  text\n", json!({ "a": "x\n y\n", "b": "folded text" })),
            ("{\"a\": [1, 2.5, null]}", json!({ "a": [1, 2.5, null] })),
        ] {
            assert_eq!(from_yaml(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn names_duplicate_keys() {
        let (_, duplicates) = from_yaml_reporting(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap();
        let want =
            "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key \"a\" already set in map";
        assert_eq!(duplicates, [want]);
    }

    #[test]
    fn reads_streams() {
        let stream = "---\na: 1\n---\n# nothing\n---\nb: 2\n";
        assert_eq!(from_yaml_all(stream.as_bytes()), Ok(vec![json!({ "a": 1 }), json!({ "b": 2 })]));
        let texts: Vec<&str> = documents(stream).collect();
        assert_eq!(texts, ["a: 1\n", "# nothing\n", "b: 2\n"]);
        let texts: Vec<&str> = documents("a: |\n  x\n--- # second\nb: 1").collect();
        assert_eq!(texts, ["a: |\n  x\n", "b: 1"]);
    }

    #[test]
    fn refuses_bombs_and_loops() {
        let bomb: Vec<String> = (1..10)
            .map(|i| {
                let item = if i == 1 { "x".to_owned() } else { format!("*a{}", i - 1) };
                format!("a{i}: &a{i} [{}]\n", vec![item; 9].join(", "))
            })
            .collect();
        assert_eq!(from_yaml(bomb.concat().as_bytes()), Err(YamlError::ExcessiveAliasing));
        assert_eq!(from_yaml(b"a: &a [*a]\n"), Err(YamlError::SelfReference));
        assert_eq!(from_yaml(b"a: *nope\n").unwrap_err().to_string().split(':').next(), Some("yaml"));
        assert!(from_yaml("[".repeat(100_000).as_bytes()).is_err());
        let deep = (0..2000).fold(String::new(), |text, i| text + &" ".repeat(i) + "-\n");
        assert_eq!(from_yaml(deep.as_bytes()), Err(YamlError::TooDeep));
    }
}
